"""`expires_after`: how long a video stays, and that nothing of it stays longer."""

from dataclasses import replace
from typing import Any

import pytest

from service.janitor import Janitor


def test_the_client_says_how_long_its_video_stays(site: Any) -> None:
    site.create(expires_after="2m")
    video = site.client.get(f"/videos/{site.worker.render()}").json()
    assert 119 <= video["expires_at"] - video["completed_at"] <= 121
    site.create()
    video = site.client.get(f"/videos/{site.worker.render()}").json()
    assert video["expires_at"] - video["completed_at"] >= 7 * 86400 - 1


@pytest.mark.parametrize("wish", ["59", 0, -5, "8d", "2030-01-01T00:00:00Z", "soon"])
def test_a_wish_out_of_bounds_names_both(site: Any, wish: Any) -> None:
    answer = site.client.post("/videos", json={"prompt": "x", "expires_after": wish})
    assert [fault["field"] for fault in site.problem(422, answer)["errors"]] == ["expires_after"]


def test_from_then_on_nothing_is_served_and_then_nothing_is_left(site: Any, start_gateway: Any) -> None:
    site.create(expires_after=60)
    video_id = site.worker.render()
    job = site.jobs.get("default", video_id)
    later = job.expires_at

    def at_that_time(parts: Any) -> Any:
        return replace(parts, intake=replace(parts.intake, clock=lambda: later))

    link = site.parts.link_signer.events_link(video_id, 60)
    link = link.removeprefix(site.parts.link_signer.public_base_url)
    then = start_gateway(parts=at_that_time)
    for variant in ("video", "thumbnail", "spritesheet", "image"):
        answer = then.client.get(f"/videos/{video_id}/content", params={"variant": variant})
        assert then.problem(410, answer)["code"] == "content_gone"
    assert then.client.get(f"/videos/{video_id}").json()["urls"]["video_link"] is None
    # The record has a clock of its own: bring the end to it.
    site.redis.zadd("{mc}:doomed", {video_id: 1})
    assert Janitor(site.jobs, site.artifacts, lease_s=15).clear_doomed().jobs == 1
    assert list(site.artifacts.list("")) == []
    remains = {
        "status": "completed",
        "state": "succeeded",
        "model": "micro",
        "expired_at": 1,
        "created_at": int(job.created_at),
        "completed_at": int(job.completed_at),
    }
    for ask in (
        site.client.get(f"/videos/{video_id}"),
        site.client.get(f"/videos/{video_id}/content"),
        site.client.post(f"/videos/{video_id}/cancel"),
        site.client.delete(f"/videos/{video_id}"),
        site.client.get(f"/videos/{video_id}/events"),
        site.client.get(f"/videos/{video_id}/receipt"),
        site.client.post(f"/videos/{video_id}/reproduce"),
        site.client.get(link),
        site.client.post(f"/videos/{video_id}/remix", json={"prompt": "x"}),
    ):
        problem = site.problem(410, ask)
        assert problem["code"] == "video_gone"
        assert problem.get("video") == (None if ask.request.url.path.startswith("/events/") else remains)
    assert site.client.get("/videos").json()["data"] == []
