"""Attempts that begin in the middle, cannot begin, or go wrong: what the client is told and what is kept."""

import time
from typing import Any

import pytest
from rig.down import Down

from models.errors import NonFiniteLatents
from service.contracts.failure import FailureCode
from service.contracts.lifecycle import State
from worker.events import KeyframeLost

PREFIX = "default/video_a/"


def test_resumed_attempt_skips_stage_one(ward: Any) -> None:
    first, second = ward.worker("w1"), ward.worker("w2")
    ward.renderer.at = {("image_to_video", 2): first.engine.leave}  # a second SIGTERM in mid-run
    ward.submit(seed=33)
    first.engine.run_ticket()
    assert (ward.job().state, ward.job().lost) == (State.QUEUED, 0)
    assert ward.outcomes() == [("video_a", 1, "released", "worker_stopped")]
    ward.renderer.at = {}
    second.engine.run_ticket()
    job = ward.job()
    assert (job.state, job.attempt) == (State.SUCCEEDED, 2)
    assert len(ward.renderer.painted) == 1
    assert int(ward.renderer.keyframes[-1].mean()) == 33
    assert job.keyframe.key == PREFIX + "1/keyframe.png"


@pytest.mark.parametrize("damage", ["missing", "altered"])
def test_durable_keyframe_that_is_gone_is_painted_again(ward: Any, damage: str) -> None:
    first, second = ward.worker("w1"), ward.worker("w2")
    ward.renderer.at = {("image_to_video", 2): first.engine.leave}
    ward.submit()
    first.engine.run_ticket()
    if damage == "missing":
        ward.storage.delete(PREFIX + "1/keyframe.png")
    else:
        ward.storage.put(PREFIX + "1/keyframe.png", b"something else", "image/png")
    ward.renderer.at = {}
    second.engine.run_ticket()
    assert ward.job().state is State.SUCCEEDED
    assert len(ward.renderer.painted) == 2
    assert ward.job().keyframe.key == PREFIX + "2/keyframe.png"
    assert len(ward.heard(KeyframeLost)) == 1


def test_own_picture_takes_stage_ones_place(ward: Any) -> None:
    picture = ward.own_picture()
    ward.submit(input_picture=picture)
    ward.worker().engine.run_ticket()
    job = ward.job()
    assert job.state is State.SUCCEEDED
    assert ward.renderer.painted == []
    assert tuple(ward.renderer.keyframes[0][0, 0]) == (200, 10, 10)
    assert job.keyframe.key == picture.key  # named, not copied
    assert ward.objects() == [PREFIX + "1/video.mp4", picture.key]


def test_own_picture_that_is_gone_fails_with_a_sentence(ward: Any) -> None:
    picture = ward.own_picture()
    ward.storage.delete(picture.key)
    ward.submit(input_picture=picture)
    ward.worker().engine.run_ticket()
    failure = ward.job().failure
    assert failure.code is FailureCode.INVALID_INPUT
    assert "input_reference" in failure.message
    assert picture.key not in failure.message


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"width": 64}, "64x16 is not one of 32x16"),
        ({"num_frames": 99}, "num_frames 99 is not 2 to 8 frames"),
        ({"num_inference_steps": 51}, "num_inference_steps 51 is outside 4..50"),
        ({"sampler": "euler"}, "'euler' is not one of dpm++2m, ddim"),
        ({"fps": 31}, "fps 31 is outside 1..30"),
    ],
)
def test_request_beyond_the_model_fails_clearly(ward: Any, fields: dict[str, Any], words: str) -> None:
    ward.submit(**fields)
    ward.worker().engine.run_ticket()
    assert ward.job().failure.code is FailureCode.INVALID_INPUT
    assert words in ward.job().failure.message
    assert ward.renderer.painted == []


def test_new_weights_do_not_cost_the_jobs_that_were_accepted_under_the_old(ward: Any) -> None:
    ward.submit(compat_weights="0123456789abcdef")
    ward.worker().engine.run_ticket()
    assert ward.job().state is State.SUCCEEDED


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NonFiniteLatents("NaN after 6 steps"), FailureCode.NON_FINITE),
        (RuntimeError("CUDA out of memory"), FailureCode.OUT_OF_MEMORY),
        (KeyError("secret path"), FailureCode.INTERNAL),
    ],
)
def test_failure_of_a_lone_job_is_final_and_named(ward: Any, error: Exception, code: FailureCode) -> None:
    ward.renderer.at = {("image_to_video", 6): ward.raising(error)}
    ward.submit()
    worker = ward.worker()
    worker.engine.run_ticket()
    job = ward.job()
    assert (job.state, job.failure.code) == (State.FAILED, code)
    assert "secret" not in job.failure.message
    assert not worker.engine.stopping
    assert ward.accelerator.freed == ([error, error] if code is FailureCode.OUT_OF_MEMORY else [])


def test_wrong_number_of_frames_is_an_encode_failure(ward: Any) -> None:
    ward.renderer.spec = ward.renderer.spec
    ward.submit(num_frames=4)

    class Short(type(ward.renderer)):  # type: ignore[misc]
        def decode(self, latents: Any) -> Any:
            return super().decode(latents[:3])

    ward.renderer = Short()
    ward.worker().engine.run_ticket()
    failure = ward.job().failure
    assert failure.code is FailureCode.ENCODE_FAILED
    assert "3 frames, 4" in failure.message
    assert not any(key.endswith(".mp4") for key in ward.objects())


def test_attempt_beyond_its_limit_fails_with_deadline_exceeded(ward: Any) -> None:
    ward.renderer.at = {("image_to_video", 1): lambda: time.sleep(0.2)}
    ward.submit()
    ward.worker(attempt_limit_s=0.1).engine.run_ticket()
    assert ward.job().failure.code is FailureCode.DEADLINE_EXCEEDED
    assert ward.job().failure.retryable


def test_storage_that_stumbles_is_asked_again(ward: Any) -> None:
    ward.submit()
    ward.worker(storage=Down(ward.storage, times=2), upload_patience_s=5.0).engine.run_ticket()
    assert ward.job().state is State.SUCCEEDED
    assert ward.job().attempt == 1


def test_storage_that_refuses_for_too_long_sends_the_job_back_and_in_the_end_fails_it(ward: Any) -> None:
    ward.submit()
    worker = ward.worker(storage=Down(ward.storage), upload_patience_s=0.0)
    for attempt in range(1, 5):
        worker.engine.run_ticket()
        ward.until(lambda: ward.job().state is not State.RUNNING)
        assert (ward.job().state, ward.job().attempt) == (State.QUEUED, attempt)
        assert ward.job().lost == 0
    worker.engine.run_ticket()
    ward.until(lambda: ward.job().terminal)
    assert ward.job().failure.code is FailureCode.STORAGE_UNAVAILABLE
    assert "secret-name" not in ward.job().failure.message


def test_what_else_a_job_went_back_for_does_not_count_against_a_storage_that_stumbles(ward: Any) -> None:
    """Five spot machines were taken away under it; then a storage refuses once."""
    ward.submit()
    for number in range(1, 6):
        (claim,) = ward.store.claim("default", "spot", 1, 60.0, ["fake"])
        assert ward.store.release("video_a", claim.attempt, "worker_stopped")
        assert claim.attempt == number
    ward.worker(storage=Down(ward.storage), upload_patience_s=0.0).engine.run_ticket()
    ward.until(lambda: ward.job().state is not State.RUNNING)
    assert (ward.job().state, ward.job().attempt) == (State.QUEUED, 6)
    ward.worker("w2").engine.run_ticket()
    assert ward.job().state is State.SUCCEEDED
