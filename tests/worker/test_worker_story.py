"""Whole attempts through the composed worker: what is stored, what the record says, what is never done."""

import io
from typing import Any

import av
import pytest
from PIL import Image

from models.cinema import frame_digest
from models.errors import NonFiniteLatents
from service.contracts.failure import FailureCode
from service.contracts.lifecycle import State
from service.contracts.request import PictureRef
from service.storage.artifact_store import StorageUnavailable
from service.store.nouns import Cancelled, Failed, Succeeded
from worker.events import AttemptEnded, KeyframeLost, LeaseLost

PREFIX = "default/video_a/"


def raising(error: Exception) -> Any:
    def action() -> None:
        raise error

    return action


def outcomes(ward: Any) -> list[tuple[str, int, str, str]]:
    return [(e.job_id, e.attempt, e.outcome, e.code) for e in ward.heard(AttemptEnded)]


def test_job_becomes_a_decodable_film(ward: Any) -> None:
    worker = ward.worker()
    ward.submit(seed=9, fps=5)
    worker.engine.run_ticket()
    job = ward.job()
    assert (job.state, job.attempt, job.progress) == (State.SUCCEEDED, 1, 100)
    assert job.artifact.key == PREFIX + "1/video.mp4"
    assert (job.artifact.frames, job.artifact.fps) == (4, 5)
    body = ward.body(job.artifact.key)
    assert job.artifact.bytes == len(body)
    with av.open(io.BytesIO(body)) as film:
        frames = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
    assert [round(float(frame.mean())) for frame in frames] == pytest.approx([10, 11, 12, 13], abs=2)
    assert job.artifact.frame_digest == frame_digest(ward.renderer.decode(ward_latents(9)))
    assert Image.open(io.BytesIO(ward.body(job.keyframe.key))).size == (32, 16)
    assert ward.objects() == [PREFIX + "1/keyframe.png", PREFIX + "1/video.mp4"]
    assert outcomes(ward) == [("video_a", 1, "succeeded", "")]
    assert job.usage["seconds"] >= job.usage["image_to_video_seconds"] >= 0


def ward_latents(seed: int) -> Any:
    import numpy as np

    return np.full((4, 4, 4, 8), seed, np.float32)


def test_progress_comes_from_finished_steps_and_never_falls(ward: Any) -> None:
    worker = ward.worker()
    ward.submit()
    worker.engine.run_ticket()
    notes = ward.notes()
    progress = [percent for *_, percent in notes]
    assert progress == sorted(progress)
    assert max(progress) <= 99
    for stage, last in (("text_to_image", 3), ("image_to_video", 6), ("encode", 4)):
        assert (stage, last) in [(name, step) for name, step, _ in notes]  # the last step is always told
    assert ("image_to_video", 0) in [(name, step) for name, step, _ in notes]


def test_two_jobs_in_a_row_load_the_weights_once(ward: Any) -> None:
    worker = ward.worker()
    for job_id in ("video_a", "video_b"):
        ward.submit(job_id)
    worker.engine.run_ticket()
    worker.engine.run_ticket()
    assert [ward.job(job_id).state for job_id in ("video_a", "video_b")] == [State.SUCCEEDED] * 2
    assert ward.loads == 1


def test_ticket_without_work_is_nothing(ward: Any) -> None:
    ward.worker().engine.run_ticket()
    assert ward.told == []
    assert ward.renderer.painted == []


@pytest.mark.parametrize("moment", [("text_to_image", 2), ("image_to_video", 3), ("decode", 2)])
def test_cancel_stops_within_one_step(ward: Any, moment: tuple[str, int]) -> None:
    worker = ward.worker()

    def cancel() -> None:
        ward.store.cancel("default", "video_a")
        worker.leases.beat(lambda held: ward.store.beat("w1", held, 2.0))  # what the nudge does

    after = []
    ward.renderer.at = {moment: cancel, (moment[0], moment[1] + 1): lambda: after.append(moment)}
    ward.submit()
    worker.engine.run_ticket()
    assert after == []
    assert ward.job().state is State.CANCELLED
    assert not any(key.endswith(".mp4") for key in ward.objects())
    assert outcomes(ward) == [("video_a", 1, "cancelled", "")]
    ward.submit("video_b")
    worker.engine.run_ticket()
    assert ward.job("video_b").state is State.SUCCEEDED


def test_cancel_that_no_beat_has_told_wins_at_finish_and_takes_the_film_back(ward: Any) -> None:
    worker = ward.worker()
    ward.renderer.at = {("decode", 4): lambda: ward.store.cancel("default", "video_a")}
    ward.submit()
    worker.engine.run_ticket()
    assert ward.job().state is State.CANCELLED
    assert ward.objects() == [PREFIX + "1/keyframe.png"]  # the record names it, so it stays
    assert outcomes(ward) == [("video_a", 1, "cancelled", "")]


def take_over(ward: Any, finish: Any = None) -> Any:
    """Another worker gets the job; with `finish` it also ends it."""

    def action() -> None:
        assert ward.store.release("video_a", 1, "test")
        (claim,) = ward.store.claim("default", "w2", 1, 60.0, ["fake"])
        assert claim.attempt == 2
        if finish is not None:
            assert ward.store.finish("video_a", 2, finish).accepted

    return action


def test_lost_lease_uploads_nothing_and_deletes_nothing(ward: Any) -> None:
    worker = ward.worker()

    def lose() -> None:
        take_over(ward)()
        worker.leases.beat(lambda held: ward.store.beat("w1", held, 2.0))

    ward.renderer.at = {("image_to_video", 4): lose}
    ward.submit()
    worker.engine.run_ticket()
    assert (ward.job().state, ward.job().attempt, ward.job().worker) == (State.RUNNING, 2, "w2")
    assert ward.objects() == [PREFIX + "1/keyframe.png"]
    assert ward.renderer.closed == 1
    assert [event.by for event in ward.heard(LeaseLost)] == ["answer"]
    assert outcomes(ward) == [("video_a", 1, "lost", "")]


def test_note_that_is_refused_stops_the_attempt_before_the_next_beat(ward: Any) -> None:
    worker = ward.worker()
    ward.renderer.at = {("image_to_video", 6): take_over(ward)}
    ward.submit()
    worker.engine.run_ticket()
    assert outcomes(ward) == [("video_a", 1, "lost", "")]
    assert not any(key.endswith(".mp4") for key in ward.objects())


def test_silent_lease_fences_itself_and_hands_the_job_back(ward: Any) -> None:
    worker = ward.worker(lease_s=0.3, beat_s=0.05)  # nothing beats: the keeper is not started
    import time

    ward.renderer.at = {("image_to_video", 2): lambda: time.sleep(0.35)}
    ward.submit()
    worker.engine.run_ticket()
    job = ward.job()
    assert (job.state, job.lost) == (State.QUEUED, 0)
    assert [event.by for event in ward.heard(LeaseLost)] == ["silence"]
    assert not any(key.endswith(".mp4") for key in ward.objects())
    assert ward.tickets.waiting("gpu-default") == 1


def test_beaten_attempt_takes_back_only_what_no_record_names(ward: Any, make_artifact: Any) -> None:
    """Attempt 1 is taken over after its upload; attempt 2 won with the keyframe of attempt 1."""
    worker = ward.worker()
    other = make_artifact(PREFIX + "2/video.mp4")
    ward.storage.put(other.key, b"the winner", "video/mp4")
    storage = Meddling(ward.storage, "video.mp4", take_over(ward, Succeeded(other)))
    worker = ward.worker(storage=storage)
    ward.submit()
    worker.engine.run_ticket()
    assert ward.job().artifact.key == other.key
    assert ward.objects() == [PREFIX + "1/keyframe.png", PREFIX + "2/video.mp4"]
    assert outcomes(ward) == [("video_a", 1, "refused", "")]


def test_taken_over_attempt_withdraws_but_an_undecided_job_keeps_its_objects(ward: Any) -> None:
    released = Meddling(ward.storage, "video.mp4", lambda: ward.store.release("video_a", 1, "test"))
    ward.submit()
    ward.worker(storage=released).engine.run_ticket()
    assert ward.job().state is State.QUEUED
    assert PREFIX + "1/video.mp4" in ward.objects()  # nobody has won: nothing is deleted
    assert outcomes(ward) == [("video_a", 1, "refused", "")]


class Meddling:
    """A storage that does something right after it stored an object of this name."""

    def __init__(self, storage: Any, name: str, after: Any) -> None:
        self._storage, self._name, self._after = storage, name, after

    def __getattr__(self, method: str) -> Any:
        return getattr(self._storage, method)

    def put(self, key: str, body: bytes, content_type: str) -> Any:
        stored = self._storage.put(key, body, content_type)
        if key.endswith(self._name):
            self._after()
        return stored


@pytest.fixture
def make_artifact() -> Any:
    from service.contracts.artifact import Artifact

    def make(key: str) -> Artifact:
        size = {"width": 32, "height": 16, "frames": 4, "fps": 8}
        return Artifact(key=key, content_type="video/mp4", bytes=9, sha256="a" * 64, **size)

    return make


def test_resumed_attempt_skips_stage_one(ward: Any) -> None:
    first, second = ward.worker("w1"), ward.worker("w2")
    ward.renderer.at = {("image_to_video", 2): first.engine.leave}  # a second SIGTERM in mid-run
    ward.submit(seed=33)
    first.engine.run_ticket()
    assert (ward.job().state, ward.job().lost) == (State.QUEUED, 0)
    assert outcomes(ward) == [("video_a", 1, "released", "worker_stopped")]
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


def own_picture(ward: Any, size: tuple[int, int] = (32, 16)) -> PictureRef:
    from worker.keyframe import picture_artifact

    body = io.BytesIO()
    Image.new("RGB", size, (200, 10, 10)).save(body, "PNG")
    key = PREFIX + "input/picture.png"
    ward.storage.put(key, body.getvalue(), "image/png")
    stored = picture_artifact(key, body.getvalue(), *size)
    return PictureRef(key=key, sha256=stored.sha256, width=size[0], height=size[1])


def test_own_picture_takes_stage_ones_place(ward: Any) -> None:
    picture = own_picture(ward)
    ward.submit(input_picture=picture)
    ward.worker().engine.run_ticket()
    job = ward.job()
    assert job.state is State.SUCCEEDED
    assert ward.renderer.painted == []
    assert tuple(ward.renderer.keyframes[0][0, 0]) == (200, 10, 10)
    assert job.keyframe.key == picture.key  # named, not copied
    assert ward.objects() == [PREFIX + "1/video.mp4", picture.key]


def test_own_picture_that_is_gone_fails_with_a_sentence(ward: Any) -> None:
    picture = own_picture(ward)
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
        ({"num_frames": 99}, "num_frames 99 is outside 2..8"),
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


def test_job_for_other_weights_is_not_rendered_with_these(ward: Any) -> None:
    ward.submit(compat_weights="0123456789abcdef")
    ward.worker().engine.run_ticket()
    assert ward.job().failure.code is FailureCode.WEIGHTS_MISMATCH
    assert ward.job().failure.retryable


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NonFiniteLatents("NaN after 6 steps"), FailureCode.NON_FINITE),
        (RuntimeError("CUDA out of memory"), FailureCode.OUT_OF_MEMORY),
        (KeyError("secret path"), FailureCode.INTERNAL),
    ],
)
def test_failure_of_a_lone_job_is_final_and_named(ward: Any, error: Exception, code: FailureCode) -> None:
    ward.renderer.at = {("image_to_video", 6): raising(error)}
    ward.submit()
    worker = ward.worker()
    worker.engine.run_ticket()
    job = ward.job()
    assert (job.state, job.failure.code) == (State.FAILED, code)
    assert "secret" not in job.failure.message
    assert not worker.engine.stopping
    assert ward.accelerator.freed == ([error] if code is FailureCode.OUT_OF_MEMORY else [])


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
    import time

    ward.renderer.at = {("image_to_video", 1): lambda: time.sleep(0.2)}
    ward.submit()
    ward.worker(attempt_limit_s=0.1).engine.run_ticket()
    assert ward.job().failure.code is FailureCode.DEADLINE_EXCEEDED
    assert ward.job().failure.retryable


class Down:
    """A storage whose writes fail: all of them, or the first few."""

    def __init__(self, storage: Any, times: int, checks: bool = True) -> None:
        self._storage, self.times, self._checks, self.tries = storage, times, checks, 0

    def __getattr__(self, method: str) -> Any:
        return getattr(self._storage, method)

    def check(self) -> None:
        if not self._checks:
            raise StorageUnavailable("no route to bucket secret-name")

    def put(self, key: str, body: bytes, content_type: str) -> Any:
        self.tries += 1
        if self.tries <= self.times:
            raise StorageUnavailable("no route to bucket secret-name")
        return self._storage.put(key, body, content_type)


def test_storage_that_stumbles_is_asked_again(ward: Any) -> None:
    ward.submit()
    ward.worker(storage=Down(ward.storage, times=2), upload_patience_s=5.0).engine.run_ticket()
    assert ward.job().state is State.SUCCEEDED
    assert ward.job().attempt == 1


def test_storage_that_is_down_sends_the_job_back_and_in_the_end_fails_it(ward: Any) -> None:
    ward.submit()
    worker = ward.worker(storage=Down(ward.storage, times=10_000), upload_patience_s=0.0)
    for attempt in range(1, 5):
        worker.engine.run_ticket()
        assert (ward.job().state, ward.job().attempt) == (State.QUEUED, attempt)
        assert ward.job().lost == 0
    worker.engine.run_ticket()
    assert ward.job().failure.code is FailureCode.STORAGE_UNAVAILABLE
    assert "secret-name" not in ward.job().failure.message


def test_nothing_is_claimed_while_storage_is_known_to_be_away(ward: Any) -> None:
    ward.submit()
    ward.worker(storage=Down(ward.storage, times=0, checks=False)).engine.run_ticket()
    assert (ward.job().state, ward.job().attempt) == (State.QUEUED, 0)


def test_finish_repeats_answer_the_same(ward: Any) -> None:
    """The oracle of the retry loop: the record itself says that a repeat by the winner is accepted."""
    ward.submit()
    ward.worker().engine.run_ticket()
    artifact = ward.job().artifact
    assert ward.store.finish("video_a", 1, Succeeded(artifact)).accepted
    assert not ward.store.finish("video_a", 1, Cancelled()).accepted
    failure = Failed(failure=ward_failure())
    assert not ward.store.finish("video_a", 1, failure).accepted


def ward_failure() -> Any:
    from service.contracts.failure import Failure

    return Failure(code=FailureCode.INTERNAL, message="x", retryable=False)
