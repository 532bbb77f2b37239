"""Attempts on models that are not MicroCinema, through the composed worker: one stage, or no stage 1."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from models.abilities import Abilities, KeyframePlace
from models.errors import PictureWithheld
from models.spec import FrameRule
from models.video_families import RenderSpec
from service.contracts.failure import FailureCode
from service.contracts.lifecycle import Stage, State

TEXT_TO_VIDEO = RenderSpec(
    name="fake",
    sizes=((32, 16),),
    frames=FrameRule(minimum=4, maximum=8, default=4),
    fps=8,
    video_steps=6,
    video_guidance=5.0,
    abilities=Abilities(keyframe=None, paints=True, negative_prompt=True, noise_prior=False),
    description="for tests",
    license="Apache-2.0",
)
ANIMATES_ONLY = replace(
    TEXT_TO_VIDEO,
    abilities=Abilities(KeyframePlace.FIRST, paints=False, negative_prompt=False, noise_prior=False),
)


@pytest.fixture
def text_to_video(ward: Any) -> Any:
    ward.renderer.spec = TEXT_TO_VIDEO
    return ward


def test_text_goes_straight_to_frames(text_to_video: Any) -> None:
    ward = text_to_video
    worker = ward.worker()
    ward.submit(gamma=0.0)
    worker.engine.run_ticket()
    job = ward.job()
    assert (job.state, job.artifact.frames) == (State.SUCCEEDED, 4)
    assert ward.renderer.painted == []
    assert ward.renderer.keyframes == []
    assert job.keyframe is None
    assert ward.objects() == ["default/video_a/1/video.mp4"]
    stages = list(dict.fromkeys(stage for stage, *_ in ward.notes()))
    assert stages == ["text_to_video", "encode", "upload"]
    progress = [percent for *_, percent in ward.notes()]
    assert progress == sorted(progress)


def test_the_frame_rate_reaches_the_model(text_to_video: Any) -> None:
    worker = text_to_video.worker()
    text_to_video.submit(gamma=0.0, fps=12)
    worker.engine.run_ticket()
    assert text_to_video.renderer.animated[0][0].fps == 12


def test_cancel_in_the_one_stage_closes_the_work(text_to_video: Any) -> None:
    ward = text_to_video
    worker = ward.worker()

    def cancel() -> None:
        ward.store.cancel("default", "video_a")
        worker.keeper.nudge()
        wait_for_the_beat(worker)

    ward.renderer.at[(Stage.IMAGE_TO_VIDEO, 3)] = cancel  # the fake's name for the animating loop
    ward.submit(gamma=0.0)
    with worker.alive():
        worker.engine.run_ticket()
    assert ward.job().state is State.CANCELLED
    assert ward.renderer.closed == 1


def wait_for_the_beat(worker: Any) -> None:
    from rig.processes import wait_until

    held = ("video_a", 1)
    wait_until(lambda: worker.leases.stop_for(held) is not None, 30, "the cancellation is heard")


def test_a_job_without_its_picture_is_a_clear_failure(ward: Any) -> None:
    ward.renderer.spec = ANIMATES_ONLY
    worker = ward.worker()
    ward.submit(gamma=0.0)
    worker.engine.run_ticket()
    failure = ward.job().failure
    assert failure.code is FailureCode.INVALID_INPUT
    assert "input_reference is missing" in failure.message
    assert ward.renderer.painted == []


def test_the_clients_picture_is_all_that_is_animated(ward: Any) -> None:
    ward.renderer.spec = ANIMATES_ONLY
    worker = ward.worker()
    picture = np.full((16, 32, 3), 77, np.uint8)
    body = io.BytesIO()
    Image.fromarray(picture).save(body, "PNG")
    ward.submit(gamma=0.0, input_picture=ward_picture(ward, body.getvalue()))
    worker.engine.run_ticket()
    assert ward.job().state is State.SUCCEEDED
    assert ward.renderer.painted == []
    assert np.array_equal(ward.renderer.keyframes[0], picture)


def ward_picture(ward: Any, body: bytes) -> Any:
    import hashlib

    from service.contracts.request import PictureRef

    key = "default/video_a/input/picture.png"
    ward.storage.put(key, body, "image/png")
    return PictureRef(key=key, sha256=hashlib.sha256(body).hexdigest(), width=32, height=16)


def test_a_withheld_picture_fails_in_the_models_words(ward: Any) -> None:
    def withhold() -> Iterator[None]:
        raise PictureWithheld("the picture model's safety checker withheld the picture for this prompt")

    ward.renderer.at[(Stage.TEXT_TO_IMAGE, 2)] = withhold
    worker = ward.worker()
    ward.submit()
    worker.engine.run_ticket()
    failure = ward.job().failure
    assert (failure.code, failure.retryable) == (FailureCode.CONTENT_POLICY, False)
    assert "safety checker" in failure.message
