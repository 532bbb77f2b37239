"""What clients hear of models that are not MicroCinema: capabilities published, and held to at intake."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from service.contracts.lifecycle import Stage
from service.contracts.model_spec import Bounds

NO_PRIOR = Bounds[float](min=0.0, max=0.0, default=0.0)


def fault(site: Any, field: str, answer: Any) -> str:
    problem = site.problem(422, answer)
    (message,) = [each["message"] for each in problem["errors"] if each["field"] == field]
    return str(message)


def post(site: Any, picture: bytes | None = None, **fields: Any) -> Any:
    if picture is None:
        return site.client.post("/videos", json={"prompt": "a cat", **fields})
    return site.client.post(
        "/videos", data={"prompt": "a cat", **fields}, files={"input_reference": ("a.png", picture)}
    )


def test_no_prior_means_gamma_zero_and_says_so(site: Any, make_spec: Any) -> None:
    site.worker.announce(make_spec(gamma=NO_PRIOR))
    assert fault(site, "gamma", post(site, gamma=0.02)) == (
        "gamma must be 0: micro has no Appearance Noise Prior, got 0.02"
    )
    accepted = post(site, gamma=0)
    assert accepted.status_code == 202
    assert accepted.json()["gamma"] == 0.0
    assert post(site).status_code == 202


def test_a_text_to_video_model_takes_no_picture_and_starts_with_its_one_stage(
    site: Any, make_spec: Any, png: Any
) -> None:
    site.worker.announce(make_spec(keyframe=None, image_input=False, gamma=NO_PRIOR))
    assert "micro takes none" in fault(site, "input_reference", post(site, png()))
    job = site.jobs.get("default", post(site).json()["id"])
    assert "text_to_video@0" in job.compat


def test_a_model_that_paints_nothing_needs_a_picture(site: Any, make_spec: Any, png: Any) -> None:
    site.worker.announce(make_spec(keyframe="first", image_required=True))
    assert fault(site, "input_reference", post(site)) == (
        "input_reference is required: a picture: micro animates pictures and makes none"
    )
    accepted = post(site, png())
    assert accepted.status_code == 202, accepted.text
    assert "image_to_video@0" in site.jobs.get("default", accepted.json()["id"]).compat


def test_a_negative_prompt_that_nobody_would_read_is_refused(site: Any, make_spec: Any) -> None:
    site.worker.announce(make_spec(negative_prompt=False))
    assert "micro reads none" in fault(site, "negative_prompt", post(site, negative_prompt="blurred"))
    assert post(site, negative_prompt="").status_code == 202


def test_capabilities_are_listed(site: Any, make_spec: Any) -> None:
    site.worker.announce(make_spec(keyframe="first", image_required=True, negative_prompt=False))
    (model,) = site.client.get("/models").json()["data"]
    listed = {
        name: model["spec"][name] for name in ("keyframe", "image_input", "image_required", "negative_prompt")
    }
    assert listed == {
        "keyframe": "first",
        "image_input": True,
        "image_required": True,
        "negative_prompt": False,
    }


def test_contradictory_capabilities_are_no_spec(make_spec: Any) -> None:
    with pytest.raises(ValidationError, match="no place in the video"):
        make_spec(keyframe=None)
    with pytest.raises(ValidationError, match="no request could be served"):
        make_spec(image_required=True, image_input=False)


def test_first_stage_follows_from_the_capabilities(make_spec: Any) -> None:
    text = make_spec(keyframe=None, image_input=False)
    assert text.first_stage(own_picture=False) is Stage.TEXT_TO_VIDEO
    assert make_spec().first_stage(own_picture=False) is Stage.TEXT_TO_IMAGE
    assert make_spec().first_stage(own_picture=True) is Stage.IMAGE_TO_VIDEO
