"""Whole attempts through the composed worker: what is stored, what the record says, what is never done."""

import io
import time
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from models.cinema import frame_digest
from service.contracts.artifact import Artifact
from service.contracts.lifecycle import State
from service.store.nouns import Succeeded
from worker.events import LeaseLost

PREFIX = "default/video_a/"


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
    assert ward.outcomes() == [("video_a", 1, "succeeded", "")]
    assert job.usage["seconds"] >= job.usage["image_to_video_seconds"] >= 0
    stages = ("text_to_image", "image_to_video", "encode")
    shares = [job.usage[f"{stage}_gpu_seconds"] for stage in stages]
    assert sum(shares) == pytest.approx(job.usage["gpu_seconds"], abs=0.003)
    assert (job.usage["device"], job.usage["peak_memory_bytes"]) == ("cpu", 7 * 2**30)
    stored = [
        ward.body(each.key) for each in (job.artifact, job.artifact.thumbnail, job.artifact.spritesheet)
    ]
    assert job.usage["bytes"] == sum(len(each) for each in stored)
    assert ward.accelerator.forgotten == 1


def ward_latents(seed: int) -> Any:
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
    assert ward.outcomes() == [("video_a", 1, "cancelled", "")]
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
    assert ward.outcomes() == [("video_a", 1, "cancelled", "")]


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
    assert ward.outcomes() == [("video_a", 1, "lost", "")]


def test_a_fast_clip_of_25_steps_is_seen_to_move_and_each_tick_is_told_at_once(ward: Any) -> None:
    """No step takes time here; a clip's progress is its steps' all the same, not a few leaps."""
    stepped_at: dict[int, float] = {}
    ward.renderer.at = {
        ("image_to_video", step): lambda step=step: stepped_at.update({step: time.time()})
        for step in range(1, 26)
    }
    worker = ward.worker()
    ward.submit(num_inference_steps=25)
    worker.engine.run_ticket()
    ticks = [event for event in ward.store.events("default", "video_a") if event.type == "video.progress"]
    progress = [event.data["progress"] for event in ticks]
    assert progress == sorted(progress)
    assert max(progress) <= 99
    assert len(set(progress)) >= 10, progress
    denoised = [
        event for event in ticks if event.data["stage"] == "image_to_video" and event.data["step"] > 0
    ]
    assert denoised[-1].data["step"] == 25
    for event in denoised:  # the record's clock is this machine's
        assert event.created_at - stepped_at[event.data["step"]] < 1.0
    assert ward.job().progress == 100


def test_note_that_is_refused_stops_the_attempt_before_the_next_beat(ward: Any) -> None:
    worker = ward.worker()
    ward.renderer.at = {("image_to_video", 6): take_over(ward)}
    ward.submit()
    worker.engine.run_ticket()
    assert ward.outcomes() == [("video_a", 1, "lost", "")]
    assert not any(key.endswith(".mp4") for key in ward.objects())


def test_silent_lease_fences_itself_and_hands_the_job_back(ward: Any) -> None:
    now = [time.monotonic()]
    worker = ward.worker(lease_s=3.0, clock=lambda: now[0])  # nothing beats: the keeper is not started
    ward.renderer.at = {("image_to_video", 2): lambda: now.append(now.pop() + 3.5)}
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
    assert ward.outcomes() == [("video_a", 1, "refused", "")]


def test_taken_over_attempt_withdraws_but_an_undecided_job_keeps_its_objects(ward: Any) -> None:
    released = Meddling(ward.storage, "video.mp4", lambda: ward.store.release("video_a", 1, "test"))
    ward.submit()
    ward.worker(storage=released).engine.run_ticket()
    assert ward.job().state is State.QUEUED
    assert PREFIX + "1/video.mp4" in ward.objects()  # nobody has won: nothing is deleted
    assert ward.outcomes() == [("video_a", 1, "refused", "")]


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
    def make(key: str) -> Artifact:
        size = {"width": 32, "height": 16, "frames": 4, "fps": 8}
        return Artifact(key=key, content_type="video/mp4", bytes=9, sha256="a" * 64, **size)

    return make
