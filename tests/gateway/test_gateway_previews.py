"""Previews on the stream: the newest of a running job, for its owner alone, outside the replayed story."""

import base64
from typing import Any

import pytest
from rig.processes import wait_until

from service.contracts.keys import REDIS_KEYS
from service.contracts.preview import Preview, Shows
from service.store.api_keys import KeyStore
from service.store.script import Store

PICTURES = [base64.b64encode(f"picture {number}".encode()).decode() for number in range(5)]


def show(site: Any, claim: Any, number: int, attempt: int | None = None) -> bool:
    preview = Preview(
        shows=Shows.VIDEO, step=number, steps=25, width=64, height=48, frames=4, picture=PICTURES[number]
    )
    answer: bool = site.jobs.preview(claim.job.id, attempt or claim.attempt, number, preview)
    return answer


def stream(site: Any, path: str, **headers: str) -> Any:
    return site.client.stream("GET", path, headers=headers)


def blocks(answer: Any) -> Any:
    """Each server-sent event's lines, comments and the first `retry` left out."""
    lines: list[str] = []
    for line in answer.iter_lines():
        if line:
            lines.append(line)
            continue
        if any(each.startswith("data: ") for each in lines):
            yield lines
        lines = []


def kinds(heard: Any, count: int) -> list[str]:
    return [next(line for line in next(heard) if line.startswith("event: ")) for _ in range(count)]


@pytest.mark.parametrize("prefix", ["", "/v1"])
def test_a_listener_sees_the_video_become_and_keeps_its_place_in_the_story(site: Any, prefix: str) -> None:
    video = site.create()
    path = f"{prefix}/videos/{video['id']}/events"
    claim = site.worker.claim()
    with stream(site, path) as answer:
        heard = blocks(answer)
        assert kinds(heard, 2) == ["event: video.queued", "event: video.started"]
        for number in (1, 2):
            assert show(site, claim, number)
            kind, data = next(heard)
            assert kind == "event: video.preview"  # and no id: Last-Event-ID stays what it was
            assert f'"step":{number},"steps":25' in data
            assert f'"picture":"data:image/webp;base64,{PICTURES[number]}"' in data
    # Whoever comes back is told no event twice, and sees the newest picture.
    with stream(site, path, **{"last-event-id": f"evt_{video['id']}_2"}) as answer:
        heard = blocks(answer)
        assert PICTURES[2] in next(heard)[-1]
        site.worker.finish(claim, site.worker.film(claim))
        (ended,) = heard
        assert "event: video.completed" in ended


def test_who_wants_no_previews_gets_none(site: Any) -> None:
    video, claim = site.create(), site.worker.claim()
    path = f"/videos/{video['id']}/events"
    with stream(site, f"{path}?previews=false") as answer, stream(site, path) as other:
        heard, seen = blocks(answer), blocks(other)
        assert kinds(heard, 2) == kinds(seen, 2)
        assert show(site, claim, 1)
        assert kinds(seen, 1) == ["event: video.preview"]
        site.worker.finish(claim, site.worker.film(claim))
        assert kinds(heard, 1) == kinds(seen, 1) == ["event: video.completed"]
    assert site.problem(422, site.client.get(f"{path}?previews=x"))["code"] == "invalid_fields"


def test_one_picture_is_kept_for_as_long_as_the_job_runs(site: Any) -> None:
    video, claim = site.create(), site.worker.claim()
    key = REDIS_KEYS["PREVIEW"] + video["id"]
    assert not show(site, claim, 1, attempt=claim.attempt + 1), "an attempt that is not current"
    for number in (1, 2, 3):
        assert show(site, claim, number)
    assert site.redis.xlen(key) == 1
    site.worker.finish(claim, site.worker.film(claim))
    assert not site.redis.exists(key)
    assert not show(site, claim, 4)
    assert not site.redis.exists(key)


def test_others_see_nothing(empty_record: None, start_gateway: Any) -> None:
    site = start_gateway(require_keys=True)
    site.worker.announce()
    keys = KeyStore(Store(site.redis))
    mine, others = ({"authorization": f"Bearer {keys.create(owner, {'read', 'write'})[1]}"} for owner in "ab")
    video = site.client.post("/videos", json={"prompt": "x"}, headers=mine).json()
    path = f"/videos/{video['id']}/events"
    claim = site.worker.claim()
    with stream(site, path, **mine) as answer:
        heard = blocks(answer)
        assert kinds(heard, 2) == ["event: video.queued", "event: video.started"]
        assert show(site, claim, 1)
        assert kinds(heard, 1) == ["event: video.preview"]
        refused = site.client.get(path, headers=others)
        assert site.problem(404, refused)["code"] == "unknown_video"
        assert PICTURES[1] not in refused.text
        # A deleted job shows nothing to anybody, from then on.
        assert site.client.delete(f"/videos/{video['id']}", headers=mine).status_code == 200
        assert not show(site, claim, 2)
        assert site.problem(404, site.client.get(path, headers=mine))["code"] == "unknown_video"
    wait_until(lambda: site.parts.broadcast.listeners == 0, 30, "the listener has left")
