"""The routes of webhook endpoints and deliveries, each once."""

from collections.abc import Sequence
from typing import Any

import httpx

from service.client.answers import Delivery, Endpoint, Page, json_of, reading
from service.client.asking import Call, asked
from service.client.calls import path_of, read_nothing, video_path
from service.client.errors import Unintelligible

_ROOM = "/webhook_endpoints"


@asked
def create_endpoint(
    url: str, *, events: Sequence[str] = (), description: str | None = None
) -> Call[Endpoint]:
    """A URL that hears of all your jobs from now on (`events`: of these alone). Its `secret` is in this
    answer and never again. Not asked twice: a lost answer may have made it."""
    told: dict[str, Any] = {"url": url, "events": list(events), "description": description}
    return Call("POST", _ROOM, reading(Endpoint), {"json": _said(told)}, repeatable=False)


@asked
def endpoints() -> Call[tuple[Endpoint, ...]]:
    """Your endpoints, the oldest first."""
    return Call("GET", _ROOM, lambda answer: reading(Page[Endpoint])(answer).data)


@asked
def endpoint(endpoint_id: str) -> Call[Endpoint]:
    """One endpoint, without its secret."""
    return Call("GET", _path(endpoint_id), reading(Endpoint))


@asked
def change_endpoint(
    endpoint_id: str,
    *,
    url: str | None = None,
    events: Sequence[str] | None = None,
    description: str | None = None,
    enabled: bool | None = None,
) -> Call[Endpoint]:
    """What is left out stays. `enabled=True` ends what disabled it."""
    heard = None if events is None else list(events)
    told = {"url": url, "events": heard, "description": description, "enabled": enabled}
    return Call("PATCH", _path(endpoint_id), reading(Endpoint), {"json": _said(told)})


@asked
def delete_endpoint(endpoint_id: str) -> Call[None]:
    """Nothing more is sent to it, and its secret is forgotten."""
    return Call("DELETE", _path(endpoint_id), read_nothing)


@asked
def rotate_endpoint(endpoint_id: str, *, overlap_s: int | None = None) -> Call[Endpoint]:
    """A new `secret`; the old one signs beside it for `overlap_s` (0 to 7 days, a day if left out). Not asked
    twice: the second new secret would take the place of the first."""
    params = {} if overlap_s is None else {"overlap_s": overlap_s}
    sent = {"params": params}
    return Call("POST", f"{_path(endpoint_id)}/rotate", reading(Endpoint), sent, repeatable=False)


@asked
def ping_endpoint(endpoint_id: str) -> Call[Delivery]:
    """Have it sent a `webhook_endpoint.ping`."""
    return Call("POST", f"{_path(endpoint_id)}/test", reading(Delivery), repeatable=False)


@asked
def redeliver(delivery_id: str) -> Call[Delivery]:
    """Send one delivery again, under its old `webhook-id`."""
    path = f"{path_of('/webhook_deliveries', 'delivery_id', delivery_id)}/redeliver"
    return Call("POST", path, reading(Delivery))


@asked
def redeliver_endpoint(
    endpoint_id: str, *, since: float | None = None, until: float | None = None, only_failed: bool = True
) -> Call[int]:
    """Send an endpoint its deliveries from `since` to `until` (Unix seconds) again; how many there are."""
    params = _said({"since": since, "until": until}) | {"only_failed": str(only_failed).lower()}
    return Call("POST", f"{_path(endpoint_id)}/redeliver", _count, {"params": params})


@asked
def delivery_page(after: str | None, video_id: str, *, limit: int = 20) -> Call[Page[Delivery]]:
    """What was sent about a video, to its own `webhook_url` and to endpoints, the newest first."""
    return _deliveries(f"{video_path(video_id)}/deliveries", after, limit)


@asked
def endpoint_delivery_page(after: str | None, endpoint_id: str, *, limit: int = 20) -> Call[Page[Delivery]]:
    """What was sent to an endpoint, the newest first."""
    return _deliveries(f"{_path(endpoint_id)}/deliveries", after, limit)


def _deliveries(path: str, after: str | None, limit: int) -> Call[Page[Delivery]]:
    params = _said({"limit": limit, "after": after})
    return Call("GET", path, reading(Page[Delivery]), {"params": params})


def _path(endpoint_id: str) -> str:
    return path_of(_ROOM, "endpoint_id", endpoint_id)


def _said(told: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in told.items() if value is not None}


def _count(answer: httpx.Response) -> int:
    body = json_of(answer)
    if not isinstance(body, dict) or not isinstance(body.get("redelivered"), int):
        raise Unintelligible(f"{answer.url} answers with no count of this API")
    return int(body["redelivered"])
