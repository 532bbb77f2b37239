"""Probes and metrics, for machines that run the gateway. They lie outside /v1."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Literal

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel, ConfigDict, Field

from service.access import reaching_record
from service.api.parts import GatewayParts, Parts
from service.refusals import Refusal
from service.store.gauges import Snapshot

router = APIRouter(tags=["operations"])

#: Probes are asked often and must answer soon (seconds).
CHECK_LIMIT_S = 2.0

#: Paths that answer even when the gateway is full.
PROBES = frozenset({"/livez", "/readyz", "/metrics"})


class AliveView(BaseModel):
    """The process answers."""

    model_config = ConfigDict(title="Alive")

    status: Literal["alive"] = "alive"


class PartView(BaseModel):
    """One part that the gateway needs, and what is wrong with it."""

    model_config = ConfigDict(title="Part")

    ready: bool
    detail: str | None = None


class PauseView(BaseModel):
    """Why an operator has closed a gate, and since when."""

    model_config = ConfigDict(title="Pause")

    reason: str
    since: int = Field(description="Unix seconds.")


class ReadyView(BaseModel):
    """Whether requests can be taken, part by part. What operators have set is told; it changes nothing."""

    model_config = ConfigDict(title="Ready")

    status: Literal["ready", "not_ready"]
    parts: dict[str, PartView]
    paused: dict[str, PauseView] = Field(description="By gate: `intake`, `pool:<name>`.")
    draining_workers: dict[str, int] = Field(description="By pool.")


@router.get("/livez", summary="Is the process alive?")
async def livez() -> AliveView:
    """Says nothing about Redis or the storage: restarting the gateway would not mend those."""
    return AliveView()


@router.get(
    "/readyz",
    summary="Can requests be taken?",
    responses={503: {"model": ReadyView, "description": "Redis or the storage does not answer."}},
)
async def readyz(parts: Parts, response: Response) -> ReadyView:
    """200 only while every part answers. A paused intake is ready: reads go on, no balancer must leave."""
    names = list(parts.checks)
    found = await asyncio.gather(*(_checked(parts.checks[name]) for name in names))
    ready = all(part.ready for part in found)
    response.status_code = 200 if ready else 503
    snapshot = await _snapshot(parts)
    pauses = snapshot.pauses.items() if snapshot else ()
    pools = snapshot.pools.items() if snapshot else ()
    return ReadyView(
        status="ready" if ready else "not_ready",
        parts=dict(zip(names, found, strict=True)),
        paused={gate: PauseView(reason=pause.reason, since=int(pause.since)) for gate, pause in pauses},
        draining_workers={pool: depth.draining for pool, depth in pools if depth.draining},
    )


@router.get(
    "/metrics",
    summary="Metrics for Prometheus",
    response_class=Response,
    responses={200: {"description": "Text exposition format.", "content": {"text/plain": {}}}},
)
async def metrics(parts: Parts) -> Response:
    """Also while Redis is away: then microcinema_redis_up is 0."""
    return Response(await parts.metrics.exposition(), headers={"content-type": CONTENT_TYPE_LATEST})


async def _snapshot(parts: GatewayParts) -> Snapshot | None:
    """None while Redis is away, of which `parts` tells."""
    with suppress(Refusal):
        async with reaching_record(CHECK_LIMIT_S):
            return await parts.snapshots.get()
    return None


async def _checked(check: Callable[[], Awaitable[object]]) -> PartView:
    try:
        async with asyncio.timeout(CHECK_LIMIT_S):
            await check()
    except TimeoutError:
        return PartView(ready=False, detail=f"no answer within {CHECK_LIMIT_S:g} s")
    except Exception as error:  # noqa: BLE001 - whatever a part is broken by, the probe reports it
        return PartView(ready=False, detail=str(error) or type(error).__name__)
    return PartView(ready=True)
