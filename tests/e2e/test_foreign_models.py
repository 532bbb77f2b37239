"""Public models through the whole service: tiny folders of diffusers' own classes, from POST to MP4.

Two families run always, one with a keyframe and one without. MICROCINEMA_ALL_FAMILIES=1 (`make
conformance-models`) runs every one of them, and every picture model in front of MicroCinema.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import httpx
import numpy as np
import pytest
from PIL import Image
from rig.tiny_pipelines import PICTURE_PIPELINES, VIDEO_PIPELINES, write_tiny

StartService = Callable[..., Any]

TEXT_ONLY = ("modelscope", "cogvideox")
ALL = os.environ.get("MICROCINEMA_ALL_FAMILIES") == "1"
VIDEO_FAMILIES = tuple(VIDEO_PIPELINES) if ALL else ("ltx-i2v", "modelscope")
PICTURE_FAMILIES = tuple(PICTURE_PIPELINES) if ALL else ("pixart",)


def decoded(mp4: bytes) -> tuple[int, float, tuple[int, int]]:
    """(frames, frames a second, (width, height)) of every picture that decodes."""
    with av.open(io.BytesIO(mp4)) as container:
        stream = container.streams.video[0]
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        return len(frames), float(stream.average_rate or 0), (frames[0].shape[1], frames[0].shape[0])


def content(service: Any, video: dict[str, Any], **params: str) -> httpx.Response:
    with service.client() as client:
        answer: httpx.Response = client.get(f"/videos/{video['id']}/content", params=params)
        return answer


def refusal(service: Any, field: str, **fields: Any) -> str:
    with service.client() as client:
        answer = client.post("/videos", json={"prompt": "a red circle", **fields})
    assert answer.status_code == 422, answer.text
    return " ".join(each["message"] for each in answer.json()["errors"] if each["field"] == field)


def picture() -> bytes:
    body = io.BytesIO()
    Image.fromarray(np.full((64, 64, 3), (200, 40, 40), np.uint8)).save(body, "PNG")
    return body.getvalue()


def post_picture(service: Any, **fields: str) -> httpx.Response:
    with service.client() as client:
        answer: httpx.Response = client.post(
            "/videos",
            data={"prompt": "it moves", "seed": "7", **fields},
            files={"input_reference": ("own.png", picture(), "image/png")},
        )
        return answer


@pytest.mark.timeout(180)
@pytest.mark.parametrize("family", VIDEO_FAMILIES)
def test_a_public_video_model_from_post_to_mp4(
    start_service: StartService, tmp_path: Path, family: str
) -> None:
    settings = {"MICROCINEMA_WEIGHTS": str(write_tiny(family, tmp_path)), "MICROCINEMA_SIZES": "64x64"}
    if family not in TEXT_ONLY:
        settings["MICROCINEMA_PICTURE_MODEL"] = str(write_tiny("sd15", tmp_path))
    service = start_service(**settings)
    service.worker()
    posted = service.create(model=family, num_frames=9, fps=8, num_inference_steps=4)
    video = service.wait_for(posted["id"], "succeeded", "failed", seconds=90)
    assert video["state"] == "succeeded", video
    assert decoded(content(service, video).content) == (9, 8.0, (64, 64))

    again = service.create(model=family, num_frames=9, fps=8, num_inference_steps=4)
    service.wait_for(again["id"], "succeeded")
    records = [service.store().get("default", each["id"]) for each in (posted, again)]
    assert records[0].artifact.frame_digest == records[1].artifact.frame_digest

    stages = {event.data["stage"] for event in service.events(posted["id"]) if "stage" in event.data}
    if family == "i2vgen-xl":  # the one with the prior
        assert service.create(num_frames=9, num_inference_steps=4, gamma=0.05)["gamma"] == 0.05
    else:
        assert "has no Appearance Noise Prior" in refusal(service, "gamma", gamma=0.05)
    if family in TEXT_ONLY:
        assert "text_to_video" in stages
        assert "text_to_image" not in stages
        own = post_picture(service)
        assert own.status_code == 422
        assert f"{family} takes none" in own.text
    else:
        assert {"text_to_image", "image_to_video"} <= stages
        keyframe = content(service, video, variant="image")
        assert Image.open(io.BytesIO(keyframe.content)).size == (64, 64)
        own = post_picture(service, num_frames="9", num_inference_steps="4")
        assert own.status_code == 202, own.text
        assert service.wait_for(own.json()["id"], "succeeded", "failed")["state"] == "succeeded"


@pytest.mark.timeout(180)
@pytest.mark.parametrize("family", PICTURE_FAMILIES)
def test_microcinema_behind_a_public_picture_model(
    start_service: StartService, nano_weights: Path, tmp_path: Path, family: str
) -> None:
    service = start_service(
        MICROCINEMA_WEIGHTS=str(nano_weights),
        MICROCINEMA_PICTURE_MODEL=str(write_tiny(family, tmp_path)),
        MICROCINEMA_MODEL_NAME=f"nano-{family}",
    )
    service.worker()
    posted = service.create(model=f"nano-{family}", gamma=0.03)
    video = service.wait_for(posted["id"], "succeeded", "failed", seconds=90)
    assert video["state"] == "succeeded", video
    assert decoded(content(service, video).content)[0] == video["num_frames"]


@pytest.mark.timeout(120)
def test_frame_rule_and_cancel_of_an_image_to_video_model(
    start_service: StartService, tmp_path: Path
) -> None:
    """8k + 1 frames at intake; a picture is required without a picture model; cancel stops within a step."""
    service = start_service(
        MICROCINEMA_WEIGHTS=str(write_tiny("cogvideox-i2v", tmp_path)), MICROCINEMA_SIZES="64x64"
    )
    service.worker()
    assert "1 above a multiple of 8" in refusal(service, "num_frames", num_frames=10)
    assert "input_reference is required" in refusal(service, "input_reference", num_frames=9)
    posted = post_picture(service, num_frames="49", num_inference_steps="50")
    assert posted.status_code == 202, posted.text
    video = posted.json()
    service.wait_for(video["id"], "running", "succeeded")
    with service.client() as client:
        assert client.post(f"/videos/{video['id']}/cancel").status_code == 200
    done = service.wait_for(video["id"], "cancelled", "succeeded", seconds=45)
    assert done["state"] == "cancelled"
    assert done["step"] < done["steps"]
    after = post_picture(service, num_frames="9", num_inference_steps="4").json()
    assert service.wait_for(after["id"], "succeeded", "failed")["state"] == "succeeded"
