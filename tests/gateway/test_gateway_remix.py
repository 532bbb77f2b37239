"""Videos made over: what they inherit, what they start from, and what cannot be made over."""

import io
from typing import Any

import pytest
from PIL import Image

OLD = {"size": "96x64", "num_frames": 8, "fps": 4, "seed": 7, "num_inference_steps": 9, "sampler": "ddim"}


def rendered(site: Any, **fields: Any) -> str:
    site.create(**{"metadata": {"order": "1"}, "priority": 3, "finish_by": "1h", **OLD, **fields})
    done: str = site.worker.render()
    return done


def remix(site: Any, video_id: str, headers: Any = None, **body: Any) -> Any:
    return site.client.post(f"/v1/videos/{video_id}/remix", json=body, headers=headers)


def test_a_remix_is_the_old_video_but_for_what_is_said(site: Any) -> None:
    old = rendered(site)
    answer = remix(site, old, prompt="a blue square", fps=8)
    assert answer.status_code == 202
    new = answer.json()
    assert new["remixed_from_video_id"] == old
    assert new["id"] != old
    assert answer.headers["location"].endswith(f"/v1/videos/{new['id']}")
    assert {name: new[name] for name in OLD} == OLD | {"fps": 8}
    assert (new["prompt"], new["priority"]) == ("a blue square", 3)
    assert (new["metadata"], new["finish_by"], new["keyframe"]) == ({}, None, None)
    shorter = remix(site, old, prompt="x", seconds="1").json()
    assert (shorter["num_frames"], shorter["seconds"]) == (4, "1")


def test_the_old_keyframe_can_be_animated_anew(site: Any) -> None:
    old = rendered(site)
    keyframe = site.client.get(f"/videos/{old}/content?variant=image").content
    new = remix(site, old, prompt="x", keep_keyframe=True).json()
    site.client.delete(f"/videos/{old}")
    picture = site.jobs.get("default", new["id"]).request.input_picture
    copied = b"".join(site.artifacts.read(picture.key))
    pixels = [Image.open(io.BytesIO(body)).convert("RGB").tobytes() for body in (copied, keyframe)]
    assert pixels[0] == pixels[1]
    assert new["id"] in picture.key


def test_the_picture_of_the_client_is_inherited(site: Any, png: Any) -> None:
    form = {"prompt": "x", "fit": "cover"}
    site.client.post("/videos", data=form, files={"input_reference": ("a.png", png(200, 200))})
    old = site.worker.render()
    new = remix(site, old, prompt="y").json()
    assert new["fit"] == "cover"
    picture = site.jobs.get("default", new["id"]).request.input_picture
    assert new["id"] in picture.key
    assert site.artifacts.head(picture.key).sha256 == picture.sha256


def test_only_a_video_that_succeeded_can_be_made_over(site: Any) -> None:
    waiting = site.create()["id"]
    answer = remix(site, waiting, prompt="x")
    assert site.problem(409, answer)["code"] == "source_not_ready"
    assert answer.headers["x-should-retry"] == "false"
    assert site.problem(404, remix(site, "video_none", prompt="x"))["code"] == "unknown_video"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "prompt"),
        ({"prompt": "x", "keep_keyframe": "perhaps"}, "keep_keyframe"),
        ({"prompt": "x", "keep_keyframe": []}, "keep_keyframe"),
        ({"prompt": "x", "fps": 99}, "fps"),
        ({"prompt": "x", "colour": "red"}, "colour"),
    ],
)
def test_what_is_wrong_with_a_remix_is_named(site: Any, body: Any, field: str) -> None:
    problem = site.problem(422, remix(site, rendered(site), **body))
    assert [fault["field"] for fault in problem["errors"]] == [field]


def test_a_remix_is_idempotent_even_when_its_source_is_gone(site: Any) -> None:
    old, key = rendered(site), {"idempotency-key": "k"}
    first = remix(site, old, key, prompt="y")
    site.client.delete(f"/videos/{old}")
    again = remix(site, old, key, prompt="y")
    assert (first.status_code, again.status_code) == (202, 200)
    assert again.json()["id"] == first.json()["id"]
    assert site.problem(422, remix(site, old, key, prompt="z"))["code"] == "idempotency_conflict"
    plain = site.client.post("/videos", json={"prompt": "y"}, headers=key)
    assert site.problem(422, plain)["code"] == "idempotency_conflict"


def test_another_model_of_the_request_takes_its_own_defaults(site: Any, make_spec: Any) -> None:
    site.worker.announce(make_spec(), make_spec(name="small", sizes=((32, 32),), samplers=("euler",)))
    new = remix(site, rendered(site), prompt="x", model="small").json()
    assert (new["model"], new["size"], new["sampler"], new["seed"]) == ("small", "32x32", "euler", 7)
