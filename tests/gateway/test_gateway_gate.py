"""The keyframe gate over HTTP: asking for it, looking at the candidates, choosing one, being late."""

import base64
import io
import time
from typing import Any

import httpx
import pytest
from PIL import Image

from service.contracts.lifecycle import State

ASKED = {"pause_after": "image", "candidates": 3, "seed": 7}


def offered(site: Any, **fields: Any) -> dict[str, Any]:
    """A job that waits for its owner."""
    site.create(**{**ASKED, **fields})
    video_id = site.worker.offer()
    shown: dict[str, Any] = site.client.get(f"/videos/{video_id}").json()
    return shown


def approve(site: Any, video_id: str, **body: Any) -> Any:
    return site.client.post(f"/v1/videos/{video_id}/approve", json=body)


def test_a_gated_job_shows_candidates_that_can_be_looked_at(site: Any) -> None:
    before = time.time()
    video = offered(site, approve_within="10m")
    assert (video["status"], video["state"]) == ("in_progress", "awaiting_approval")
    gate = video["gate"]
    assert (gate["pause_after"], gate["count"], gate["approved"], gate["chosen"]) == ("image", 3, False, None)
    assert before + 599 <= gate["approve_by"] <= time.time() + 601
    assert [(c["index"], c["seed"]) for c in gate["candidates"]] == [(0, 7), (1, 8), (2, 9)]
    for candidate in gate["candidates"]:
        for address in (candidate["url"], candidate["link"]):
            answer = site.client.get(httpx.URL(address).raw_path.decode())
            assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
            with Image.open(io.BytesIO(answer.content)) as picture:
                assert picture.convert("RGB").getpixel((0, 0)) == (candidate["index"],) * 3
    assert site.problem(409, site.client.get(f"/videos/{video['id']}/content?variant=image"))
    assert site.client.head(gate["candidates"][0]["url"]).headers["content-type"] == "image/png"


def test_the_chosen_candidate_becomes_the_keyframe_and_choosing_twice_is_no_error(site: Any) -> None:
    video = offered(site)
    answer = approve(site, video["id"], candidate=1)
    assert answer.status_code == 200
    chosen = answer.json()
    assert (chosen["state"], chosen["gate"]["approved"], chosen["gate"]["chosen"]) == ("queued", True, 1)
    assert chosen["gate"]["approve_by"] is None
    assert chosen["keyframe"]["sha256"] == video["gate"]["candidates"][1]["sha256"]
    assert approve(site, video["id"], candidate="1").status_code == 200
    problem = site.problem(409, approve(site, video["id"], candidate=2))
    assert problem["code"] == "not_awaiting_approval"
    assert site.worker.render() == video["id"]
    assert approve(site, video["id"], candidate=1).json()["status"] == "completed"
    picture = site.client.get(f"/videos/{video['id']}/content?variant=image").content
    with Image.open(io.BytesIO(picture)) as keyframe:
        assert keyframe.convert("RGB").getpixel((0, 0)) == (1, 1, 1)


def test_of_one_candidate_no_number_is_needed_and_of_several_it_is(site: Any) -> None:
    several = offered(site)
    problem = site.problem(422, approve(site, several["id"]))
    assert problem["errors"][0] | {"message": ""} == {
        "field": "candidate",
        "value": "",
        "bound": "0 to 2",
        "message": "",
    }
    one = offered(site, candidates=None)
    assert one["gate"]["count"] == 1
    assert approve(site, one["id"]).json()["gate"]["chosen"] == 0


def test_a_picture_of_ones_own_may_take_the_place_of_the_candidates(site: Any, png: Any) -> None:
    video = offered(site)
    path, colour = f"/videos/{video['id']}/approve", (200, 10, 20)
    file = {"input_reference": ("mine.png", png(80, 60, colour=colour))}
    too_small = site.problem(422, site.client.post(path, files=file))
    assert too_small["errors"][0]["field"] == "input_reference"
    for _ in range(2):  # the same picture again is the same choice
        answer = site.client.post(path, files=file, data={"fit": "cover"})
        assert answer.status_code == 200, answer.text
        gate = answer.json()["gate"]
        assert (gate["approved"], gate["chosen"]) == (True, None)
    other = {"input_reference": ("mine.png", png(64, 64))}
    site.problem(409, site.client.post(path, files=other))
    keyframe = site.client.get(f"/videos/{video['id']}/content?variant=image").content
    with Image.open(io.BytesIO(keyframe)) as picture:
        assert (picture.size, picture.convert("RGB").getpixel((0, 0))) == ((64, 64), colour)


def test_that_picture_may_be_named_by_a_url_too(site: Any, png: Any) -> None:
    video = offered(site)
    as_data = "data:image/png;base64," + base64.b64encode(png(64, 64)).decode()
    answer = approve(site, video["id"], input_reference={"image_url": as_data})
    assert (answer.status_code, answer.json()["gate"]["approved"]) == (200, True)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"candidate": 3}, "candidate"),
        ({"candidate": -1}, "candidate"),
        ({"candidate": 10**30}, "candidate"),
        ({"candidate": True}, "candidate"),
        ({"candidate": "first"}, "candidate"),
        ({"candidate": [0]}, "candidate"),
        ({"candidate": 0, "seed": 3}, "seed"),
        ({"candidate": 0, "fit": "cover"}, "fit"),
        ({"candidate": 0, "fit": {}}, "fit"),
    ],
)
def test_a_choice_that_cannot_be_meant_is_refused_and_the_job_waits_on(
    site: Any, body: dict[str, Any], field: str
) -> None:
    video = offered(site)
    problem = site.problem(422, approve(site, video["id"], **body))
    assert [fault["field"] for fault in problem["errors"]] == [field]
    assert site.jobs.get("default", video["id"]).state is State.AWAITING_APPROVAL


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"pause_after": "video"}, "pause_after"),
        ({"pause_after": True}, "pause_after"),
        ({"candidates": 0}, "candidates"),
        ({"candidates": 9}, "candidates"),
        ({"candidates": 1.5}, "candidates"),
        ({"pause_after": None}, "candidates"),
        ({"pause_after": None, "candidates": None, "approve_within": "1h"}, "approve_within"),
        ({"approve_within": 59}, "approve_within"),
        ({"approve_within": "8d"}, "approve_within"),
        ({"approve_within": "2030-01-01T00:00:00Z"}, "approve_within"),
    ],
)
def test_a_gate_that_cannot_be_is_refused_with_its_field(
    site: Any, fields: dict[str, Any], field: str
) -> None:
    answer = site.client.post("/videos", json={"prompt": "x", **ASKED, **fields})
    problem = site.problem(422, answer)
    assert [fault["field"] for fault in problem["errors"]] == [field]


def test_a_picture_of_ones_own_leaves_nothing_to_pause_for(site: Any, png: Any) -> None:
    form = {"prompt": "x", "pause_after": "image"}
    answer = site.client.post("/videos", data=form, files={"input_reference": ("p.png", png())})
    assert site.problem(422, answer)["errors"][0]["field"] == "pause_after"


def test_a_model_without_keyframes_has_no_gate(site: Any, make_spec: Any) -> None:
    site.worker.announce(make_spec(keyframe=None, image_input=False))
    answer = site.client.post("/videos", json={"prompt": "x", **ASKED})
    assert "paints no keyframe" in site.problem(422, answer)["detail"]


def test_jobs_without_a_gate_have_nothing_to_approve(site: Any) -> None:
    video = site.create()
    assert video["gate"] is None
    assert "pause_after" in site.problem(409, approve(site, video["id"], candidate=0))["detail"]
    site.problem(404, approve(site, "video_" + "0" * 32, candidate=0))
    early = site.create(**ASKED)
    site.problem(409, approve(site, early["id"], candidate=0))
    missing = site.client.get(f"/videos/{early['id']}/content?variant=image&candidate=0")
    assert site.problem(409, missing)["code"] == "content_not_ready"
    beyond = site.client.get(f"/videos/{early['id']}/content?variant=image&candidate=5")
    site.problem(404, beyond)
    site.problem(422, site.client.get(f"/videos/{early['id']}/content?candidate=0"))


def test_a_gate_is_not_inherited_by_a_remix(site: Any) -> None:
    video = offered(site)
    approve(site, video["id"], candidate=0)
    site.worker.render()
    remixed = site.client.post(f"/videos/{video['id']}/remix", json={"prompt": "a blue square"}).json()
    assert remixed["gate"] is None
    gated = {"prompt": "a blue square", "pause_after": "image"}
    assert site.client.post(f"/videos/{video['id']}/remix", json=gated).json()["gate"]["count"] == 1


def test_a_wrong_method_is_told_the_right_one(site: Any) -> None:
    answer = site.client.get(f"/videos/{site.create()['id']}/approve")
    assert site.problem(405, answer)["code"] == "wrong_method"
    assert answer.headers["allow"] == "POST"


def test_a_choice_of_unheard_names_is_refused_whatever_they_are_made_of(site: Any) -> None:
    path = f"/videos/{site.create(pause_after='image')['id']}/approve"
    site.worker.offer()
    headers = {"content-type": "application/json"}
    many = "{" + ", ".join(f'"a{number}": 1' for number in range(5000)) + "}"
    for content, field in ((r'{"\ud800": 1}', r"\ud800"), (many, "a0")):
        answer = site.client.post(path, content=content.encode(), headers=headers)
        errors = site.problem(422, answer)["errors"]
        assert errors[0]["field"] == field
        assert len(errors) <= 8
