"""Every route that names something of an owner's, asked by a stranger: a 404, and nothing has changed."""

import json
from pathlib import Path
from typing import Any

import pytest

from service.contracts.api_key import Scope
from service.store.api_keys import KeyStore
from service.store.script import Store

DOCUMENT = json.loads(Path(__file__).with_name("openapi.json").read_text())
#: The permission is in the link itself: a wrong one is a 403 whoever asks.
SIGNED = ("/artifacts/{key}", "/events/{video_id}")
#: The name of a model is nobody's secret.
OF_NOBODY = ("/models/{name}", "/models/{owner}/{name}/predictions")
#: What a route wants in its body before it looks for whom it is asked about.
BODIES: dict[tuple[str, str], dict[str, Any]] = {
    ("post", "/videos/{video_id}/remix"): {"prompt": "a ring"},
    ("post", "/videos/{video_id}/extend"): {"prompt": "a ring"},
    ("post", "/videos/{video_id}/approve"): {"candidate": 0},
    ("post", "/videos/{video_id}/reproduce"): {},
    ("patch", "/webhook_endpoints/{endpoint_id}"): {"description": "another"},
    ("post", "/webhook_endpoints/{endpoint_id}"): {"name": "another"},
}
NAMING = [
    (method, path)
    for path, methods in DOCUMENT["paths"].items()
    for method in methods
    if "{" in path and path not in SIGNED + OF_NOBODY
]
NEVER = {
    "video_id": "video_" + "0" * 32,
    "endpoint_id": "we_" + "0" * 24,
    "delivery_id": "evt_video_" + "0" * 32 + "_1",
}


@pytest.fixture
def locked(empty_record: None, start_gateway: Any, make_spec: Any) -> Any:
    site = start_gateway(require_keys=True)
    site.worker.announce(make_spec(keyframe="first"))
    return site


def key_of(site: Any, owner: str) -> dict[str, str]:
    _, secret = KeyStore(Store(site.redis)).create(owner, frozenset({Scope.READ, Scope.WRITE}))
    return {"authorization": f"Bearer {secret}"}


def owned(site: Any, headers: dict[str, str]) -> dict[str, str]:
    """A finished video, an endpoint, and a delivery to it, by the names that paths have for them."""
    video = site.client.post("/videos", json={"prompt": "a circle"}, headers=headers).json()["id"]
    site.worker.render()
    hook = site.client.post("/webhook_endpoints", json={"url": "https://a.example/"}, headers=headers).json()
    ping = site.client.post(f"/webhook_endpoints/{hook['id']}/test", headers=headers).json()
    return {"video_id": video, "endpoint_id": hook["id"], "delivery_id": ping["id"]}


def as_it_stands(site: Any, mine: dict[str, str], headers: dict[str, str]) -> list[Any]:
    paths = (f"/videos/{mine['video_id']}", f"/webhook_endpoints/{mine['endpoint_id']}")
    video, endpoint = (site.client.get(path, headers=headers).json() for path in paths)
    del video["urls"]  # links are new with every look
    return [video, endpoint]


def ask(
    site: Any, method: str, path: str, names: dict[str, str], headers: dict[str, str], prefix: str = ""
) -> Any:
    body = BODIES.get((method, path))
    return site.client.request(method, prefix + path.format(**names), json=body, headers=headers)


@pytest.mark.parametrize("prefix", ["", "/v1"])
def test_no_route_tells_a_stranger_that_something_is_there(locked: Any, prefix: str) -> None:
    """In the very words of what never was, so that nobody can find out by asking either."""
    ours, theirs = key_of(locked, "acme"), key_of(locked, "zenith")
    mine = owned(locked, ours)
    before = as_it_stands(locked, mine, ours)
    for method, path in NAMING:
        (name,) = (each for each in mine if f"{{{each}}}" in path)
        strange, none = (
            locked.problem(404, ask(locked, method, path, names, theirs, prefix)) for names in (mine, NEVER)
        )
        assert strange["code"].startswith("unknown_"), (method, path)
        assert strange["detail"].replace(mine[name], NEVER[name]) == none["detail"], (method, path)
        assert (strange["code"], strange["title"]) == (none["code"], none["title"]), (method, path)
    assert as_it_stands(locked, mine, ours) == before


def test_a_video_that_a_body_names_is_as_unknown(locked: Any) -> None:
    mine = owned(locked, key_of(locked, "acme"))
    asked = {"prompt": "a ring", "video": {"id": mine["video_id"]}}
    answer = locked.client.post("/videos/extensions", json=asked, headers=key_of(locked, "zenith"))
    assert locked.problem(404, answer)["code"] == "unknown_video"


def test_the_same_calls_are_answered_to_their_owner(locked: Any) -> None:
    """So the strangers' are refused for who asks, and not for what is asked."""
    ours = key_of(locked, "acme")
    mine = owned(locked, ours)
    asked = [each for each in NAMING if each[0] != "delete"]
    statuses = {(method, path): ask(locked, method, path, mine, ours).status_code for method, path in asked}
    late = {("post", f"/{what}/{{video_id}}/cancel"): 409 for what in ("videos", "predictions")}
    late |= {("post", "/videos/{video_id}/approve"): 409}
    assert {each: status for each, status in statuses.items() if status >= 300} == late
