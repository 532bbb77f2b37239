"""What a running attempt keeps of stage 2, how often, and that no storage can hold it up."""

import hashlib
import threading
from collections.abc import Callable
from typing import Any

import pytest

from models.orders import Progress
from service.contracts.failure import Failure, FailureCode
from service.contracts.lifecycle import Stage, State
from service.storage.artifact_store import StorageUnavailable
from service.store.nouns import Failed
from worker.attempt import Attempt
from worker.events import CheckpointFailed, CheckpointKept

PREFIX = "default/video_a/"
STEPS = [(Stage.IMAGE_TO_VIDEO, step) for step in range(1, 7)]
"""A step that flushes leaves no race: all that was handed over before it is stored behind it."""


def test_a_running_attempt_keeps_one_clip_and_an_ended_job_none(ward: Any) -> None:
    worker = ward.worker(checkpoint_every_s=0.0, lease_s=60.0)
    seen: dict[int, list[str]] = {}

    def look(step: int) -> Callable[[], None]:
        def action() -> None:
            worker.checkpoints.flush()
            seen[step] = [key.removeprefix(PREFIX) for key in ward.objects()]

        return action

    ward.renderer.at = {(Stage.IMAGE_TO_VIDEO, step): look(step) for step in range(2, 7)}
    ward.submit()
    worker.engine.run_ticket()
    ward.settle()
    worker.checkpoints.flush()
    # the one that the record names, and the one that it will name after this step
    assert seen[6] == ["1/checkpoint-4.safetensors", "1/checkpoint-5.safetensors", "1/keyframe.png"]
    assert [event.step for event in ward.heard(CheckpointKept)] == [1, 2, 3, 4, 5]
    assert ward.job().checkpoint is None
    assert ward.objects() == [PREFIX + "1/keyframe.png", PREFIX + "1/video.mp4"]


class Refusing:
    """A storage that does not take checkpoints: it refuses them, or never answers."""

    def __init__(self, storage: Any, hangs: threading.Event | None = None) -> None:
        self._storage, self._hangs, self.tries = storage, hangs, 0

    def __getattr__(self, method: str) -> Any:
        return getattr(self._storage, method)

    def put(self, key: str, body: bytes, content_type: str) -> Any:
        if "checkpoint" in key:
            self.tries += 1
            if self._hangs is None:
                raise StorageUnavailable("no route to bucket secret-name")
            self._hangs.wait()
        return self._storage.put(key, body, content_type)


def test_a_storage_that_takes_no_checkpoint_fails_no_attempt(ward: Any) -> None:
    storage = Refusing(ward.storage)
    worker = ward.worker(storage=storage, checkpoint_every_s=0.0, lease_s=60.0)
    ward.renderer.at = dict.fromkeys(STEPS[1:], worker.checkpoints.flush)
    ward.submit()
    worker.engine.run_ticket()
    assert (ward.job().state, ward.job().attempt) == (State.SUCCEEDED, 1)
    assert storage.tries == 6
    assert len(ward.heard(CheckpointFailed)) == 5  # nobody asks after the last any more


def test_a_storage_that_hangs_holds_up_no_step(ward: Any) -> None:
    answers = threading.Event()
    storage = Refusing(ward.storage, answers)
    worker = ward.worker(storage=storage, checkpoint_every_s=0.0, lease_s=60.0)
    ward.submit()
    try:
        worker.engine.run_ticket()
        assert ward.job().state is State.SUCCEEDED
        assert storage.tries <= 1  # one at a time: what hangs piles up nothing
    finally:
        answers.set()
    worker.checkpoints.flush()
    assert ward.objects() == [PREFIX + "1/keyframe.png", PREFIX + "1/video.mp4"]


def test_a_storage_that_hangs_does_not_keep_a_leaving_worker(ward: Any) -> None:
    answers = threading.Event()
    first = ward.worker("w1", storage=Refusing(ward.storage, answers), lease_s=60.0)
    ward.renderer.at = {(Stage.IMAGE_TO_VIDEO, 4): first.engine.leave}
    ward.submit()
    try:
        first.engine.run_ticket()
        assert (ward.job().state, ward.job().checkpoint) == (State.QUEUED, None)
    finally:
        answers.set()


def test_a_stage_that_runs_again_keeps_nothing_before_the_step_it_had_reached(ward: Any) -> None:
    """Memory ran out: the same attempt begins stage 2 anew, and what is named must stay whole."""
    worker = ward.worker(checkpoint_every_s=0.0, lease_s=60.0)
    named: list[int] = []
    left = iter([True])

    def look() -> None:
        worker.checkpoints.flush()
        kept = ward.job().checkpoint
        if kept is not None:
            named.append(kept.step)
            assert hashlib.sha256(ward.body(kept.key)).hexdigest() == kept.sha256

    def run_out() -> None:
        look()
        if next(left, False):
            raise RuntimeError("CUDA out of memory")

    ward.renderer.at = {(Stage.IMAGE_TO_VIDEO, step): look for step in range(1, 7)}
    ward.renderer.at[Stage.IMAGE_TO_VIDEO, 4] = run_out
    ward.submit()
    worker.engine.run_ticket()
    assert ward.job().state is State.SUCCEEDED
    assert ward.animated() == [1, 2, 3, 1, 2, 3, 4, 5, 6]
    assert named == sorted(named)
    assert named[-1] == 4


def test_an_attempt_without_its_lease_keeps_nothing(ward: Any) -> None:
    worker = ward.worker(checkpoint_every_s=0.0, lease_s=60.0)

    def lose() -> None:
        assert ward.store.release("video_a", 1, "test")
        assert len(ward.store.claim("default", "w2", 1, 60.0, ["fake"])) == 1
        worker.leases.beat(lambda held: ward.store.beat("w1", held, 2.0))

    ward.renderer.at = {(Stage.IMAGE_TO_VIDEO, 1): lose}
    ward.submit()
    worker.engine.run_ticket()
    worker.checkpoints.flush()
    assert ward.objects() == [PREFIX + "1/keyframe.png"]
    assert ward.outcomes() == [("video_a", 1, "lost", "")]


def test_a_beaten_attempt_takes_back_what_it_kept(ward: Any) -> None:
    worker = ward.worker(checkpoint_every_s=0.0, lease_s=60.0)

    def take_over() -> None:
        worker.checkpoints.flush()
        assert ward.store.release("video_a", 1, "test")
        assert len(ward.store.claim("default", "w2", 1, 60.0, ["fake"])) == 1

    ward.renderer.at = dict.fromkeys(STEPS[1:3], worker.checkpoints.flush) | {
        (Stage.IMAGE_TO_VIDEO, 4): take_over
    }
    ward.submit()
    worker.engine.run_ticket()  # naming the third is refused
    worker.checkpoints.flush()
    assert ward.outcomes() == [("video_a", 1, "lost", "")]
    named = ward.job().checkpoint
    assert [key for key in ward.objects() if "checkpoint" in key] == [named.key]


def test_clips_are_kept_by_work_time_and_not_by_steps(ward: Any) -> None:
    """Three seconds a step, ten between two clips."""
    now = [0.0]

    def three_seconds() -> None:
        now[0] += 3.0
        worker.checkpoints.flush()

    worker = ward.worker(lease_s=3600.0, clock=lambda: now[0])
    ward.renderer.at = {(Stage.IMAGE_TO_VIDEO, step): three_seconds for step in range(1, 21)}
    ward.submit(num_inference_steps=20)
    worker.engine.run_ticket()
    assert ward.job().state is State.SUCCEEDED
    assert [event.step for event in ward.heard(CheckpointKept)] == [4, 8, 12, 16]


def test_clips_of_an_attempt_that_ends_behind_its_story_go_then(ward: Any, make_attempt: Any) -> None:
    """Its end may be told late: by a finish that is sent again, or by whoever sends the video."""
    checkpoints, attempt = ward.worker(checkpoint_every_s=0.0).checkpoints, make_attempt()
    checkpoints.reached(attempt, Stage.IMAGE_TO_VIDEO, Progress(1, 6, lambda _: b"a clip"), 0)
    for _ in range(2):
        checkpoints.keep(attempt)
        checkpoints.flush()
    checkpoints.close([attempt])
    checkpoints.flush()
    assert ward.objects() == [ward.job().checkpoint.key]
    failure = Failure(code=FailureCode.INTERNAL, message="x", retryable=True)
    assert ward.store.finish("video_a", 1, Failed(failure)).accepted
    checkpoints.flush()
    assert ward.objects() == []


@pytest.fixture
def make_attempt(ward: Any) -> Callable[[], Attempt]:
    def make() -> Attempt:
        ward.submit()
        (claim,) = ward.store.claim("default", "w1", 1, 60.0, ["fake"])
        return Attempt(claim.job, claim.attempt, began=0.0)

    return make
