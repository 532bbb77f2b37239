"""The life of a job as a client sees it, over a real socket and a real record."""

import re
from typing import Any

import pytest
from rig.processes import wait_until

from service.contracts.failure import Failure, FailureCode
from service.store.nouns import Cancelled, Failed


def test_a_video_is_accepted_with_everything_decided(site: Any) -> None:
    answer = site.client.post(
        "/videos",
        json={
            "prompt": "a red circle moves left",
            "seconds": "2",
            "fps": 8,
            "size": "96x64",
            "negative_prompt": "blur",
            "guidance_scale": 3.5,
            "metadata": {"order": "4711"},
            "webhook_url": "https://example.com/hook",
            "priority": 3,
        },
    )
    assert answer.status_code == 202
    video = answer.json()
    assert answer.headers["location"] == f"{site.url}/videos/{video['id']}"
    assert re.fullmatch(r"video_[0-9a-f]{32}", video["id"])
    assert (video["object"], video["status"], video["state"]) == ("video", "queued", "queued")
    assert (video["seconds"], video["size"], video["num_frames"], video["fps"]) == ("2", "96x64", 16, 8)
    assert 0 <= video["seed"] < 2**32
    assert (video["model"], video["sampler"], video["guidance_scale"]) == ("micro", "dpm++2m", 3.5)
    assert (video["progress"], video["attempts"], video["error"]) == (0, 0, None)
    assert video["metadata"] == {"order": "4711"}
    assert video["warnings"] == []
    untold = {"eta_p50_seconds": None, "eta_p90_seconds": None}  # nothing was measured yet
    assert video["queue"] == {"pool": "default", "ready": 1, "live_workers": 1, "ahead": 0, **untold}
    assert video["urls"]["content"] == f"{site.url}/videos/{video['id']}/content"
    record = site.jobs.get("default", video["id"])
    assert record.request.seed == video["seed"]
    assert record.compat.startswith("micro:0123456789abcdef:96x64:16f:text_to_image@0:dpm++2m:25s:cfg")
    tickets = site.parts.intake.bell.tickets
    wait_until(lambda: tickets.waiting("gpu-default") >= 1, 30, "a ticket is pushed")


def test_a_job_through_all_its_states(site: Any) -> None:
    video_id = site.create(seed=7)["id"]

    def seen() -> dict[str, Any]:
        answer = site.client.get(f"/videos/{video_id}")
        assert answer.headers["openai-poll-after-ms"] == "1000"
        video: dict[str, Any] = answer.json()
        return video

    claim = site.worker.claim()
    assert (seen()["status"], seen()["state"], seen()["attempts"]) == ("in_progress", "running", 1)
    assert seen()["queue"] is None
    site.worker.paint(claim)
    running = seen()
    assert (running["stage"], running["step"], running["steps"], running["progress"]) == (
        "image_to_video",
        3,
        25,
        40,
    )
    assert running["keyframe"]["content_type"] == "image/png"
    assert running["urls"]["image_link"]
    assert running["urls"]["video_link"] is None
    site.worker.finish(claim, site.worker.film(claim))
    done = seen()
    assert (done["status"], done["state"], done["progress"]) == ("completed", "succeeded", 100)
    assert done["video"]["frames"] == 16
    assert done["video"]["frame_digest"] == "f" * 64
    assert done["usage"] == {"gpu_seconds": 1.5}
    assert done["completed_at"] >= done["started_at"] >= done["created_at"]
    assert done["expires_at"] > done["completed_at"]
    assert done["urls"]["video_link"].startswith("http://127.0.0.1:8000/artifacts/default/")
    assert done["seed"] == 7


def test_a_failed_job_says_why(site: Any) -> None:
    video_id = site.create()["id"]
    claim = site.worker.claim()
    failure = Failure(code=FailureCode.OUT_OF_MEMORY, message="too large for this GPU", retryable=True)
    site.worker.finish(claim, Failed(failure))
    video = site.client.get(f"/videos/{video_id}").json()
    assert (video["status"], video["state"]) == ("failed", "failed")
    assert video["error"] == {
        "code": "out_of_memory",
        "message": "too large for this GPU",
        "retryable": True,
    }


def test_a_waiting_job_is_cancelled_at_once_and_twice_is_no_error(site: Any) -> None:
    video_id = site.create()["id"]
    for _ in range(2):
        answer = site.client.post(f"/videos/{video_id}/cancel")
        assert answer.status_code == 200
        assert (answer.json()["status"], answer.json()["state"]) == ("failed", "cancelled")
        assert answer.json()["error"]["code"] == "cancelled"


def test_a_running_job_is_flagged_and_ends_cancelled(site: Any) -> None:
    video_id = site.create()["id"]
    claim = site.worker.claim()
    answer = site.client.post(f"/videos/{video_id}/cancel")
    assert answer.status_code == 200
    assert (answer.json()["state"], answer.json()["cancel_requested"]) == ("running", True)
    site.worker.finish(claim, Cancelled())
    assert site.client.get(f"/videos/{video_id}").json()["state"] == "cancelled"


def test_what_has_succeeded_cannot_be_cancelled(site: Any) -> None:
    video_id = site.create()["id"]
    site.worker.render()
    problem = site.problem(409, site.client.post(f"/videos/{video_id}/cancel"))
    assert problem["code"] == "already_finished"
    assert "succeeded" in problem["detail"]


def test_a_deleted_video_is_gone_from_everywhere(site: Any) -> None:
    video_id = site.create()["id"]
    answer = site.client.delete(f"/videos/{video_id}")
    assert answer.status_code == 200
    assert answer.json() == {"id": video_id, "deleted": True, "object": "video.deleted"}
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/cancel"), ("GET", "/content")):
        problem = site.problem(404, site.client.request(method, f"/videos/{video_id}{path}"))
        assert problem["code"] == "unknown_video"
    assert site.client.get("/videos").json()["data"] == []


@pytest.mark.parametrize("video_id", ["video_0", "a" * 500, "%00", "a%20b", "..%2fx", "%ff", "{mc}:job"])
def test_unknown_ids_are_404_whatever_they_look_like(site: Any, video_id: str) -> None:
    site.problem(404, site.client.get(f"/videos/{video_id}"))


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_pages_join_to_the_whole_list(site: Any, order: str) -> None:
    made = [site.create(seed=number)["id"] for number in range(5)]
    seen: list[str] = []
    after: dict[str, str] = {}
    for length in (2, 2, 1):
        page = site.client.get("/videos", params={"limit": 2, "order": order, **after}).json()
        ids = [video["id"] for video in page["data"]]
        assert len(ids) == length
        assert (page["object"], page["first_id"], page["last_id"]) == ("list", ids[0], ids[-1])
        assert page["has_more"] == (length == 2)
        seen += ids
        after = {"after": page["last_id"]}
    assert seen == (made if order == "asc" else made[::-1])


def test_a_video_deleted_between_two_pages_does_not_end_the_paging(site: Any) -> None:
    made = [site.create(seed=number)["id"] for number in range(4)]
    last_id = site.client.get("/videos", params={"limit": 2, "order": "asc"}).json()["last_id"]
    site.client.delete(f"/videos/{last_id}")
    page = site.client.get("/videos", params={"limit": 2, "order": "asc", "after": last_id}).json()
    assert [video["id"] for video in page["data"]] == made[2:]


def test_an_empty_list(site: Any) -> None:
    assert site.client.get("/videos").json() == {
        "object": "list",
        "data": [],
        "has_more": False,
        "first_id": None,
        "last_id": None,
    }


@pytest.mark.parametrize(
    ("query", "field", "bound"),
    [
        ("limit=0", "limit", "at least 1"),
        ("limit=101", "limit", "at most 100"),
        ("limit=abc", "limit", "a whole number"),
        ("order=up", "order", "one of 'asc' or 'desc'"),
        ("after=video_unknown", "after", "the id of one of your videos"),
        ("after=%00%ff", "after", "the id of one of your videos"),
        ("after=", "after", "the id of one of your videos"),
    ],
)
def test_bad_paging_is_named(site: Any, query: str, field: str, bound: str) -> None:
    problem = site.problem(422, site.client.get(f"/videos?{query}"))
    assert [(fault["field"], fault["bound"]) for fault in problem["errors"]] == [(field, bound)]
    assert problem["error"]["param"] == field


def test_models_are_shown_with_their_bounds(site: Any, make_spec: Any) -> None:
    site.worker.announce(make_spec(), make_spec(name="aardvark", weight_hash="f" * 16))
    site.jobs.retire("gpu-1")
    site.worker.announce(make_spec())
    models = site.client.get("/models").json()
    assert models["object"] == "list"
    assert [(model["id"], model["live_workers"]) for model in models["data"]] == [
        ("micro", 1),
        ("aardvark", 0),
    ]
    assert models["data"][0]["spec"]["sizes"] == [[64, 64], [96, 64]]


def test_an_unknown_model_is_told_the_known_ones(site: Any) -> None:
    answer = site.client.post("/videos", json={"prompt": "x", "model": "sora-2"})
    problem = site.problem(422, answer)
    assert (problem["code"], problem["error"]["param"]) == ("unknown_model", "model")
    (fault,) = problem["errors"]
    assert (fault["field"], fault["value"], fault["bound"]) == ("model", "'sora-2'", "one of micro")


def test_a_model_without_a_live_worker_queues_with_a_warning(site: Any) -> None:
    site.jobs.retire("gpu-1")
    video = site.create()
    assert video["state"] == "queued"
    assert video["warnings"] == ["no worker serves micro at the moment; the job waits for one"]
    assert video["queue"]["live_workers"] == 0


def test_before_any_model_is_announced_clients_are_asked_to_wait(site: Any) -> None:
    site.redis.flushall()
    answer = site.client.post("/videos", json={"prompt": "x"})
    assert site.problem(503, answer)["code"] == "no_model_yet"
    assert int(answer.headers["retry-after"]) >= 1
    # a request that is wrong for any model is told so all the same
    site.problem(422, site.client.post("/videos", json={"prompt": "\x00"}))


def test_a_full_queue_is_429_and_says_when_to_come_back(start_gateway: Any, site: Any) -> None:
    small = start_gateway(queue_limit=1)
    small.create()
    answer = small.client.post("/videos", json={"prompt": "one too many"})
    assert small.problem(429, answer)["code"] == "queue_full"
    assert answer.headers["x-should-retry"] == "true"
    assert int(answer.headers["retry-after"]) >= 1
    assert len(small.client.get("/videos").json()["data"]) == 1


def test_the_same_routes_under_v1_with_their_own_urls(site: Any) -> None:
    answer = site.client.post("/v1/videos", json={"prompt": "x"})
    assert answer.status_code == 202
    video = answer.json()
    assert answer.headers["location"] == f"{site.url}/v1/videos/{video['id']}"
    assert video["urls"]["cancel"] == f"{site.url}/v1/videos/{video['id']}/cancel"
    assert site.client.get(f"/v1/videos/{video['id']}").json()["id"] == video["id"]
    assert site.client.get("/v1/models").status_code == 200
    assert site.client.get("/v1/metrics").status_code == 404
