"""Stage 2 kept between two steps: who goes on from there, what becomes of broken clips, and what is left."""

from collections.abc import Callable
from typing import Any

import pytest

from service.contracts.artifact import Checkpoint
from service.contracts.lifecycle import Stage, State
from service.janitor import Janitor
from service.store.nouns import Note
from worker.events import BatchClaimed, CheckpointIgnored, Resumed

PREFIX = "default/video_a/"


class Killed(BaseException):
    """What kill -9 looks like from inside: nothing of the worker's own runs any more."""


def kill() -> None:
    raise Killed


def in_steps(worker: Any, *steps: int) -> dict[Any, Callable[[], Any]]:
    """In each of these steps of stage 2 wait until all that was handed over is stored: no race is left."""
    return {(Stage.IMAGE_TO_VIDEO, step): worker.checkpoints.flush for step in steps}


def die(ward: Any, step: int = 5, **settings: Any) -> None:
    """Attempt 1 keeps what it can, and dies in the middle of `step`."""
    worker = ward.worker("w1", checkpoint_every_s=0.0, lease_s=60.0, **settings)
    ward.renderer.at = in_steps(worker, *range(2, step)) | {(Stage.IMAGE_TO_VIDEO, step): kill}
    with pytest.raises(Killed):
        worker.engine.run_ticket()
    worker.checkpoints.flush()
    ward.renderer.at = {}
    for job in (ward.job(job_id) for job_id in ("video_a", "video_b") if ward.store.record(job_id)):
        if job.state is State.RUNNING:
            assert ward.store.release(job.id, job.attempt, "test", counts_as_loss=True)


def test_a_new_attempt_takes_only_the_steps_that_are_left(ward: Any) -> None:
    ward.submit(seed=33)
    die(ward)
    kept = ward.job().checkpoint
    assert (kept.key, kept.step) == (PREFIX + "1/checkpoint-3.safetensors", 3)
    assert ward.body(kept.key).endswith(b" 33 3")
    ward.worker("w2", lease_s=60.0).engine.run_ticket()
    job = ward.job()
    assert (job.state, job.attempt, job.lost) == (State.SUCCEEDED, 2, 1)
    assert ward.animated() == [1, 2, 3, 4, 4, 5, 6]
    assert len(ward.renderer.painted) == 1
    assert ward.heard(Resumed) == [Resumed("video_a", 2, 3)]
    assert job.artifact.receipt.resumed_after == 3


def test_progress_of_a_resumed_attempt_never_falls(ward: Any) -> None:
    ward.submit()
    die(ward)
    ward.worker("w2", lease_s=60.0).engine.run_ticket()
    progress = [percent for *_, percent in ward.notes()]
    assert progress == sorted(progress)


def test_what_an_earlier_attempt_kept_is_the_janitors_once_nobody_can_want_it(ward: Any) -> None:
    ward.submit()
    die(ward)
    left = [PREFIX + "1/checkpoint-3.safetensors", PREFIX + "1/checkpoint-4.safetensors"]
    janitor = Janitor(ward.store, ward.storage, 2.0, clock=lambda: 4e9)
    second = ward.worker("w2", lease_s=60.0)
    ward.renderer.at = {(Stage.IMAGE_TO_VIDEO, 5): janitor.sweep}
    second.engine.run_ticket()
    ward.settle()
    second.checkpoints.flush()
    assert [key for key in ward.objects() if "checkpoint" in key] == left[:1]  # named while the second ran
    janitor.sweep()
    assert ward.objects() == [PREFIX + "1/keyframe.png", PREFIX + "2/video.mp4"]


@pytest.mark.parametrize("damage", ["missing", "altered", "half-written", "of other weights"])
def test_a_checkpoint_that_is_no_use_costs_its_steps_and_nothing_else(ward: Any, damage: str) -> None:
    ward.submit()
    die(ward)
    key = ward.job().checkpoint.key
    match damage:
        case "missing":
            ward.storage.delete(key)
        case "altered":
            ward.storage.put(key, b"something else", "application/octet-stream")
        case "half-written":
            ward.storage.put(key, ward.body(key)[:9], "application/octet-stream")
        case _:
            ward.renderer.weight_hash = "0123456789abcdef01234567"
    ward.worker("w2", lease_s=60.0).engine.run_ticket()
    assert (ward.job().state, ward.job().attempt) == (State.SUCCEEDED, 2)
    assert ward.animated() == [1, 2, 3, 4, 1, 2, 3, 4, 5, 6]
    assert len(ward.renderer.painted) == 1
    assert [(e.attempt, e.step) for e in ward.heard(CheckpointIgnored)] == [(2, 3)]
    assert ward.heard(Resumed) == []


def test_a_second_death_goes_on_from_the_second_attempts_clip(ward: Any) -> None:
    ward.submit()
    die(ward, step=4)
    assert ward.job().checkpoint.step == 2
    worker = ward.worker("w2", checkpoint_every_s=0.0, lease_s=60.0)
    ward.renderer.at = in_steps(worker, 3, 4, 5) | {(Stage.IMAGE_TO_VIDEO, 6): kill}
    with pytest.raises(Killed):
        worker.engine.run_ticket()
    kept = ward.job().checkpoint
    assert (kept.key, kept.step) == (PREFIX + "2/checkpoint-4.safetensors", 4)


@pytest.mark.parametrize(
    ("moment", "step"), [((Stage.IMAGE_TO_VIDEO, 4), 4), ((Stage.IMAGE_TO_VIDEO, 6), 6), (("decode", 2), 6)]
)
def test_an_attempt_that_is_told_to_leave_is_kept_as_it_stands(ward: Any, moment: Any, step: int) -> None:
    """Ten seconds are far from over."""
    first, second = ward.worker("w1", lease_s=60.0), ward.worker("w2", lease_s=60.0)
    ward.renderer.at = {moment: first.engine.leave}
    ward.submit()
    first.engine.run_ticket()
    job = ward.job()
    assert (job.state, job.lost, job.checkpoint.step) == (State.QUEUED, 0, step)
    assert ward.outcomes() == [("video_a", 1, "released", "worker_stopped")]
    ward.renderer.at = {}
    second.engine.run_ticket()
    assert (ward.job().state, ward.job().attempt) == (State.SUCCEEDED, 2)
    assert ward.animated() == [1, 2, 3, 4, 5, 6]
    assert len(ward.renderer.painted) == 1


def test_each_job_of_a_batch_has_a_clip_of_its_own_and_goes_on_alone(ward: Any) -> None:
    for job_id, seed in (("video_a", 11), ("video_b", 12)):
        ward.submit(job_id, seed=seed)
    die(ward, max_batch=4)
    kept = {job_id: ward.job(job_id).checkpoint for job_id in ("video_a", "video_b")}
    assert {ward.body(each.key).split()[1] for each in kept.values()} == {b"11", b"12"}
    second = ward.worker("w2", max_batch=4, lease_s=60.0)
    second.engine.run_ticket()
    second.engine.run_ticket()
    assert [len(event.job_ids) for event in ward.heard(BatchClaimed)] == [2, 1, 1]
    assert [ward.job(job_id).state for job_id in kept] == [State.SUCCEEDED] * 2
    assert ward.animated() == [1, 2, 3, 4] + [4, 5, 6] * 2
    assert [event.step for event in ward.heard(Resumed)] == [3, 3]


def test_a_model_that_cannot_go_on_begins_again(ward: Any) -> None:
    ward.submit()
    assert len(ward.store.claim("default", "w0", 1, 60.0, ["fake"])) == 1
    there = Checkpoint(key=PREFIX + "1/checkpoint-3.safetensors", sha256="b" * 64, step=3)
    assert ward.store.note("video_a", 1, Note(Stage.IMAGE_TO_VIDEO, 3, 6, 40, checkpoint=there))
    assert ward.store.release("video_a", 1, "test")
    ward.renderer.spec = Unable(ward.renderer.spec)
    ward.worker(lease_s=60.0).engine.run_ticket()
    assert ward.animated() == [1, 2, 3, 4, 5, 6]
    assert ward.heard(CheckpointIgnored) == []  # it does not even look


class Unable:
    """A spec of a model that does not go on behind a kept step."""

    def __init__(self, spec: Any) -> None:
        self._spec = spec
        self.abilities = type(spec.abilities)(spec.abilities.keyframe, True, True, True, resumes=False)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._spec, name)
