"""What the routes need, made once in main.py and passed in; tests pass other parts to the same function."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Annotated

from fastapi import Depends, Request

from service.access import Shelf
from service.answer_headers import asked
from service.auth import OWNER, FindKey
from service.broadcast import Broadcast
from service.intake.intake import Intake
from service.intake.waiting_room import WaitingRoom
from service.metrics import GatewayMetrics
from service.rates import Rates
from service.remembered import Remembered
from service.settings import GatewaySettings
from service.storage.links import LinkSigner
from service.store.gauges import Snapshot
from service.sweep import Sweep
from service.tracing import Traces, no_traces
from service.webhooks import WebhookDesk

#: OpenAI's clients are given a base_url that ends so.
VERSION_PREFIX = "/v1"


@dataclass(frozen=True)
class GatewayParts:
    """The composed gateway.

    `signer` checks the links of the files backend (None: the storage serves its own). `checks` are the parts
    that must answer before the gateway is ready: name -> call that raises. `public_base_url` is the address
    that clients use (None: the one they called). `find_key` looks API keys up (None: keys are off), `rates`
    counts requests (None: nobody does). `close` ends the connections. `waiting_room` holds requests that wait
    for a job's end, `broadcast` streams of events; `link_signer` signs links to those (None: no secret is
    known to all processes).
    """

    settings: GatewaySettings
    intake: Intake
    shelf: Shelf
    metrics: GatewayMetrics
    sweep: Sweep
    snapshots: Remembered[Snapshot]
    checks: Mapping[str, Callable[[], Awaitable[object]]]
    signer: LinkSigner | None
    public_base_url: str | None
    find_key: FindKey | None
    close: Callable[[], Awaitable[None]]
    waiting_room: WaitingRoom
    webhooks: WebhookDesk
    broadcast: Broadcast
    link_signer: LinkSigner | None = None
    rates: Rates | None = None
    traces: Traces = field(default_factory=no_traces)


def parts_of(request: Request) -> GatewayParts:
    """The gateway that serves this request."""
    parts: GatewayParts = request.app.state.parts
    return parts


def owner_of(request: Request) -> str:
    """Who asks."""
    owner: str = request.scope[OWNER]
    return owner


async def _parts(request: Request) -> GatewayParts:
    return parts_of(request)


async def _tenant(request: Request) -> str:
    return owner_of(request)


#: For routes that are asked now and then. The two that are asked all the time call the functions above
#: themselves: FastAPI's way to these costs them more than what it finds.
Parts = Annotated[GatewayParts, Depends(_parts)]
Tenant = Annotated[str, Depends(_tenant)]


def served_base(request: Request, parts: GatewayParts) -> str:
    """The address to which routes are appended, with /v1 if the client came by /v1."""
    base = parts.public_base_url or _called(
        request.scope.get("scheme", "http"),
        asked(request.scope, b"host"),
        request.scope.get("server"),
        request.scope.get("root_path", ""),
    )
    base = base.rstrip("/")
    return base + VERSION_PREFIX if request.scope["path"].startswith(f"{VERSION_PREFIX}/") else base


@lru_cache(maxsize=64)  # clients write the host, so their spellings must not pile up
def _called(scheme: str, host: str | None, server: tuple[str, int | None] | None, root_path: str) -> str:
    """The address that the client called, as Starlette makes it out, up to the path."""
    headers = [] if host is None else [(b"host", host.encode("latin-1"))]
    told = {"scheme": scheme, "headers": headers, "server": server, "root_path": root_path}
    return str(Request({"type": "http", "path": "/", "query_string": b"", **told}).base_url)
