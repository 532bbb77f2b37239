"""Receipts over HTTP, and videos made again: what is asked anew, what is copied, and what is refused."""

import json
from typing import Any

import pytest
from rig.receipts import WEIGHTS

from service.client import Client, VideoEvent

ASKED = {"num_frames": 8, "fps": 4, "seed": 7, "num_inference_steps": 9, "sampler": "ddim", "priority": 3}


def rendered(site: Any, **fields: Any) -> str:
    site.create(**{"metadata": {"order": "1"}, "webhook_url": "https://example.com/a", **ASKED, **fields})
    done: str = site.worker.render()
    return done


def reproduce(site: Any, video_id: str, headers: Any = None, **body: Any) -> Any:
    sent = {"json": body} if body else {}
    return site.client.post(f"/v1/videos/{video_id}/reproduce", headers=headers, **sent)


def test_a_receipt_is_in_the_job_and_at_an_address_of_its_own(site: Any) -> None:
    waiting = site.create()["id"]
    problem = site.problem(409, site.client.get(f"/videos/{waiting}/receipt"))
    assert problem["code"] == "content_not_ready"
    site.worker.render()
    receipt = site.client.get(f"/videos/{waiting}/receipt").json()
    assert receipt == site.client.get(f"/videos/{waiting}").json()["receipt"]
    assert (receipt["weight_hash"], receipt["frame_digest"]) == (WEIGHTS, "f" * 64)
    cancelled = site.create()["id"]
    site.client.post(f"/videos/{cancelled}/cancel")
    assert site.problem(404, site.client.get(f"/videos/{cancelled}/receipt"))["code"] == "no_content"


def test_a_reproduction_asks_for_all_that_its_original_asked_for(site: Any) -> None:
    old = rendered(site)
    answer = reproduce(site, old)  # no body, no content type
    assert answer.status_code == 202
    new = answer.json()
    assert (new["reproduces_video_id"], new["reproduction"], new["receipt"]) == (old, None, None)
    assert {name: new[name] for name in ASKED} == ASKED
    assert (new["metadata"], new["webhook_url"]) == ({}, "https://example.com/a")
    request = site.jobs.get("default", new["id"]).request
    assert request.reproduces.receipt.frame_digest == "f" * 64
    assert request.reproduces.key.startswith(f"default/{old}/")


def test_only_what_no_frame_depends_on_may_be_said(site: Any) -> None:
    old = rendered(site)
    own = {"metadata": {"a": "b"}, "priority": 1, "webhook_url": "https://example.com/b", "finish_by": "1h"}
    new = reproduce(site, old, **own).json()
    assert (new["metadata"], new["priority"], new["webhook_url"]) == ({"a": "b"}, 1, "https://example.com/b")
    assert new["finish_by"] is not None
    problem = site.problem(422, reproduce(site, old, prompt="another", seed=8, priority=99))
    assert [fault["field"] for fault in problem["errors"]] == ["prompt", "seed", "priority"]


def test_two_reproductions_never_share_a_run_with_anyone(site: Any) -> None:
    old = rendered(site)
    site.create(**ASKED)
    ids = [reproduce(site, old, {"idempotency-key": key}).json()["id"] for key in "ab"]
    claims = site.jobs.claim("default", "gpu-1", 4, 15.0, ["micro"])
    assert len(claims) == 1
    assert len({site.jobs.get("default", each).compat for each in ids}) == 2


def test_the_picture_of_the_client_is_copied_byte_by_byte(site: Any, png: Any) -> None:
    form = {"prompt": "x", "fit": "cover"}
    site.client.post("/videos", data=form, files={"input_reference": ("a.png", png(200, 200))})
    old = site.worker.render()
    new = reproduce(site, old).json()
    before, after = (site.jobs.get("default", each).request.input_picture for each in (old, new["id"]))
    site.client.delete(f"/videos/{old}")
    assert (after.sha256, after.fit) == (before.sha256, "cover")
    assert new["id"] in after.key
    assert site.artifacts.head(after.key).sha256 == before.sha256


def test_the_last_event_brings_the_verdict(site: Any) -> None:
    old = rendered(site)
    new = reproduce(site, old).json()["id"]
    site.worker.render(frame_digest="0" * 64, batch=2)
    with Client(site.url) as client:
        end = list(client.events(new))[-1]
    assert isinstance(end, VideoEvent)
    assert (end.type, end.reproduces_video_id) == ("video.completed", old)
    assert end.reproduction is not None
    assert end.reproduction.in_words == "different: 40.5 dB apart; changed since: batch"


def test_what_was_chosen_at_a_gate_stands(site: Any, png: Any) -> None:
    gated = site.create(pause_after="image", candidates=3)["id"]
    site.worker.offer()
    site.client.post(f"/videos/{gated}/approve", json={"candidate": 2})
    site.worker.render()
    new = reproduce(site, gated).json()
    assert (new["gate"], new["state"]) == (None, "queued")
    assert site.jobs.get("default", new["id"]).request.reproduces.candidate == 2
    site.worker.render()
    again = reproduce(site, new["id"]).json()  # a reproduction of a reproduction
    assert site.jobs.get("default", again["id"]).request.reproduces.candidate == 2
    site.worker.render()

    own = site.create(pause_after="image")["id"]
    site.worker.offer()
    files = {"input_reference": ("a.png", png(64, 64, (1, 2, 3)))}
    assert site.client.post(f"/videos/{own}/approve", files=files).status_code == 200
    site.worker.render()
    new = reproduce(site, own).json()
    picture = site.jobs.get("default", new["id"]).request.input_picture
    assert picture.sha256 == site.jobs.get("default", own).keyframe.sha256
    assert new["id"] in picture.key


def test_a_remix_says_whose_picture_it_took(site: Any) -> None:
    old = rendered(site)
    body = {"prompt": "x", "keep_keyframe": True}
    new = site.client.post(f"/videos/{old}/remix", json=body).json()["id"]
    assert site.jobs.get("default", new).request.input_picture.taken_from == old


def test_other_weights_are_refused_before_anything_is_spent(site: Any, make_spec: Any) -> None:
    old = rendered(site)
    site.worker.announce(make_spec(weight_hash="fedcba9876543210"))
    answer = reproduce(site, old)
    problem = site.problem(409, answer)
    assert problem["code"] == "cannot_reproduce"
    assert WEIGHTS in problem["detail"]
    assert "fedcba9876543210" in problem["detail"]
    assert answer.headers["x-should-retry"] == "false"


def test_only_a_video_that_is_there_can_be_reproduced(site: Any) -> None:
    waiting = site.create()["id"]
    assert site.problem(409, reproduce(site, waiting))["code"] == "source_not_ready"
    assert site.problem(404, reproduce(site, "video_none"))["code"] == "unknown_video"
    site.client.delete(f"/videos/{waiting}")
    assert site.problem(404, reproduce(site, waiting))["code"] == "unknown_video"


def test_a_picture_that_was_lost_is_gone(site: Any, png: Any) -> None:
    site.client.post("/videos", data={"prompt": "x"}, files={"input_reference": ("a.png", png(64, 64))})
    old = site.worker.render()
    site.artifacts.delete(site.jobs.get("default", old).request.input_picture.key)
    assert site.problem(410, reproduce(site, old))["code"] == "content_gone"


def test_a_reproduction_is_idempotent_even_when_its_original_is_gone(site: Any) -> None:
    old, key = rendered(site), {"idempotency-key": "k"}
    first = reproduce(site, old, key)
    site.client.delete(f"/videos/{old}")
    again = reproduce(site, old, key)
    assert (first.status_code, again.status_code) == (202, 200)
    assert first.json()["id"] == again.json()["id"]
    assert site.problem(422, reproduce(site, old, key, priority=1))["code"] == "idempotency_conflict"


@pytest.mark.parametrize("content", [b"", b"{}"])
def test_a_content_type_for_nothing_is_no_fault(site: Any, content: bytes) -> None:
    old = rendered(site)
    headers = {"content-type": "application/json"}
    path = f"/videos/{old}/reproduce"
    assert site.client.post(path, content=content, headers=headers).status_code == 202


def test_a_name_that_no_field_has_is_refused_once_however_it_is_written(site: Any) -> None:
    path, headers = f"/videos/{rendered(site)}/reproduce", {"content-type": "application/json"}
    many = json.dumps({f"a{number}": number for number in range(5000)})
    for content, field in ((r'{"\ud800": 1}', r"\ud800"), (r'{"é": 1}', r"\xe9"), (many, "a0")):
        answer = site.client.post(path, content=content.encode(), headers=headers)
        errors = site.problem(422, answer)["errors"]
        assert errors[0]["field"] == field
        assert len(errors) <= 8
    assert len(site.problem(422, site.client.post(path, json={"sedd": 1}))["errors"]) == 1


def test_it_counts_as_any_other_video(empty_record: None, start_gateway: Any) -> None:
    site = start_gateway(quota_requests=2)
    site.worker.announce()
    old = rendered(site)
    assert reproduce(site, old).status_code == 202
    assert site.problem(429, reproduce(site, old, metadata={"a": "b"}))["code"] == "insufficient_quota"
