"""Extensions at the gateway: which are taken, what they inherit, and why the others are not."""

import io
from typing import Any

import pytest

OLD = {"size": "96x64", "num_frames": 8, "fps": 4, "seed": 7, "num_inference_steps": 9, "sampler": "ddim"}


@pytest.fixture
def first(site: Any, make_spec: Any) -> Any:
    site.worker.announce(make_spec(keyframe="first"))
    return site


def rendered(site: Any, **fields: Any) -> str:
    site.create(**{"metadata": {"order": "1"}, **OLD, **fields})
    done: str = site.worker.render()
    return done


def extend(site: Any, video_id: str, headers: Any = None, **body: Any) -> Any:
    return site.client.post(f"/v1/videos/{video_id}/extend", json=body, headers=headers)


def test_an_extension_goes_on_with_a_copy_of_the_old_film(first: Any) -> None:
    old = rendered(first)
    film = first.client.get(f"/videos/{old}/content").content
    answer = extend(first, old, prompt="it turns around", num_frames=12)
    assert answer.status_code == 202, answer.text
    new = answer.json()
    assert new["extended_from_video_id"] == old
    assert (new["num_frames"], new["source_frames"], new["seconds"]) == (8 + 12 - 1, 8, "4.75")
    assert {name: new[name] for name in ("size", "fps", "sampler", "num_inference_steps")} == {
        name: OLD[name] for name in ("size", "fps", "sampler", "num_inference_steps")
    }
    assert (new["metadata"], new["remixed_from_video_id"], new["keyframe"]) == ({}, None, None)
    first.client.delete(f"/videos/{old}")
    job = first.jobs.get("default", new["id"])
    assert b"".join(first.artifacts.read(job.request.extends.key)) == film
    assert job.request.num_frames == 12
    assert ":image_to_video@0:" in job.compat


def test_openai_names_the_video_in_the_body(first: Any) -> None:
    old = rendered(first)
    asked = {"prompt": "x", "seconds": "2"}
    answers = [
        first.client.post("/v1/videos/extensions", json={**asked, "video": {"id": old}}),
        first.client.post("/videos/extensions", json={**asked, "video": old}),
        first.client.post(
            "/videos/extensions",
            files={"prompt": (None, "x"), "seconds": (None, "2"), "video[id]": (None, old)},
        ),
    ]
    assert [answer.status_code for answer in answers] == [202] * 3
    assert {answer.json()["num_frames"] for answer in answers} == {8 + 8 - 1}
    for video in (None, 7, {"url": "x"}, []):
        answer = first.client.post("/videos/extensions", json={"prompt": "x", "video": video})
        assert first.problem(422, answer)["errors"][0]["field"] == "video"
    upload = {"video": ("a.mp4", io.BytesIO(b"x"), "video/mp4")}
    answer = first.client.post("/videos/extensions", data={"prompt": "x"}, files=upload)
    assert first.problem(422, answer)["errors"][0]["field"] == "video"


def test_an_extension_can_be_extended(first: Any) -> None:
    old = rendered(first)
    extend(first, old, prompt="x", num_frames=8)
    claim = first.worker.claim()
    first.worker.paint(claim)
    done = first.worker.film(claim)
    first.worker.finish(claim, type(done)(done.artifact.model_copy(update={"frames": 15}), done.usage))
    again = extend(first, claim.job.id, prompt="y").json()
    assert (again["source_frames"], again["num_frames"]) == (15, 22)


def test_what_cannot_be_extended_says_why(site: Any, make_spec: Any) -> None:
    old = rendered(site)
    problem = site.problem(422, extend(site, old, prompt="x"))
    assert problem["code"] == "cannot_extend"
    assert "centre frame" in problem["detail"]
    site.worker.announce(make_spec(keyframe=None, image_input=False))
    assert "from the text alone" in site.problem(422, extend(site, old, prompt="x"))["detail"]
    site.worker.announce(make_spec(keyframe="first"))
    waiting = site.create()["id"]
    assert site.problem(409, extend(site, waiting, prompt="x"))["code"] == "source_not_ready"
    assert site.problem(404, extend(site, "video_none", prompt="x"))["code"] == "unknown_video"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "prompt"),
        ({"prompt": "x", "size": "64x64"}, "size"),
        ({"prompt": "x", "fps": 8}, "fps"),
        ({"prompt": "x", "num_frames": 7}, "num_frames"),
        ({"prompt": "x", "input_reference": "https://example.com/a.png"}, "input_reference"),
        ({"prompt": "x", "nonsense": 1}, "nonsense"),
        ({"prompt": "x", "pause_after": "image"}, "pause_after"),
    ],
)
def test_a_bad_field_is_named(first: Any, body: dict[str, Any], field: str) -> None:
    old = rendered(first)
    problem = first.problem(422, extend(first, old, **body))
    assert [each["field"] for each in problem["errors"]] == [field]


def test_a_film_may_not_grow_for_ever(empty_record: None, start_gateway: Any, make_spec: Any) -> None:
    site = start_gateway(extended_max_s=4)
    site.worker.announce(make_spec(keyframe="first"))
    old = rendered(site)
    assert extend(site, old, prompt="x", num_frames=8).status_code == 202
    (fault,) = site.problem(422, extend(site, old, prompt="x", num_frames=12))["errors"]
    assert (fault["field"], fault["value"]) == ("seconds", "4.75")
    assert "at most 4 s" in fault["message"]


def test_a_repeat_with_its_key_is_the_same_extension(first: Any) -> None:
    old = rendered(first)
    key = {"idempotency-key": "k"}
    one, same = (extend(first, old, key, prompt="x") for _ in range(2))
    other = extend(first, old, key, prompt="y")
    assert (one.status_code, same.status_code, other.status_code) == (202, 200, 422)
    assert same.json()["id"] == one.json()["id"]
    assert first.client.get(f"/videos/{one.json()['id']}").status_code == 200


def test_a_refused_extension_leaves_no_copy_behind(
    empty_record: None, start_gateway: Any, make_spec: Any
) -> None:
    site = start_gateway(queue_limit=1)
    site.worker.announce(make_spec(keyframe="first"))
    old = rendered(site)
    site.create()
    assert site.problem(429, extend(site, old, prompt="x"))["code"] == "queue_full"
    assert not [each.key for each in site.artifacts.list("default/") if "source.mp4" in each.key]
