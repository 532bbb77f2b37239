"""The small parts, each by itself: gate, uploads, verdicts, watchdog, catalogue, settings."""

import dataclasses
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from models.errors import NonFiniteLatents
from models.spec import MICRO, SD21
from service.contracts.artifact import Artifact
from service.contracts.failure import FailureCode
from service.contracts.lifecycle import Stage, State
from service.storage.artifact_store import StorageUnavailable, StoredObject
from service.store.errors import StoreUnavailable
from service.store.nouns import Finished
from worker.accelerator import TorchAccelerator
from worker.attempt import Attempt
from worker.catalogue import public_spec
from worker.encode import EncodeFailed
from worker.events import StorageRetried, StoreUnreachable
from worker.failures import BadInput, Remedy, judge
from worker.lease import Leases
from worker.main import worker_name
from worker.patience import GaveUp, Patience
from worker.rhythm import Rhythm
from worker.settings import WorkerSettings
from worker.step_gate import NOTE_AGAIN_S, StepGate, percent
from worker.stops import Stop, Stopped
from worker.upload import Uploader, may_withdraw
from worker.watchdog import EXIT_HUNG, Pulse, Watchdog


@pytest.fixture
def attempt(ward: Any) -> Attempt:
    ward.submit()
    (claim,) = ward.store.claim("default", "w1", 1, 60.0, ["fake"])
    return Attempt(claim.job, claim.attempt, began=1000.0)


class Gated:
    """A gate on the real record with a clock that moves only when told."""

    def __init__(self, store: Any, attempt: Attempt) -> None:
        self.now, self.told, self.leave = 1000.0, [], threading.Event()
        self.leases = Leases(15.0, tell=self.told.append, clock=lambda: self.now)
        self.holding = self.leases.holding([attempt.held], 1000.0)
        self.holding.__enter__()
        self.gate = StepGate(
            store,
            self.leases,
            attempt_limit_s=12.0,
            leave=self.leave,
            pulse=Pulse(),
            tell=self.told.append,
            clock=lambda: self.now,
        )


def test_gate_knows_every_reason_to_stop(ward: Any, attempt: Attempt) -> None:
    gated = Gated(ward.store, attempt)
    gated.gate.pass_or_stop(attempt)
    gated.now = 1012.5
    assert gated.gate.stop_for(attempt) is Stop.DEADLINE
    gated.leave.set()
    assert gated.gate.stop_for(attempt) is Stop.ABANDON
    gated.now = 1015.0  # without its lease an attempt may not even say that it ends
    assert gated.gate.stop_for(attempt) is Stop.LOST_SILENT
    with pytest.raises(Stopped):
        gated.gate.pass_or_stop(attempt)


def test_steps_are_told_four_times_a_second_and_the_ends_always(ward: Any, attempt: Attempt) -> None:
    gated = Gated(ward.store, attempt)
    for step in range(101):  # a hundred steps in one second
        gated.gate.note(attempt, Stage.IMAGE_TO_VIDEO, step, 100)
        gated.now += 0.01
    steps = [step for _, step, _ in ward.notes()]
    assert steps[0] == 0
    assert steps[-1] == 100
    assert 5 <= len(steps) <= 7


def test_gate_leaves_a_silent_record_alone_for_a_while(ward: Any, attempt: Attempt) -> None:
    class Silent:
        asked = 0

        def note(self, *_: Any) -> bool:
            self.asked += 1
            raise StoreUnavailable("away")

    record = Silent()
    gated = Gated(record, attempt)
    for _ in range(10):
        gated.gate.note(attempt, Stage.IMAGE_TO_VIDEO, 1, 1)
    assert record.asked == 1
    gated.now += NOTE_AGAIN_S
    gated.gate.note(attempt, Stage.IMAGE_TO_VIDEO, 1, 1)
    assert record.asked == 2
    assert [type(event) for event in gated.told] == [StoreUnreachable] * 2


def test_progress_fills_0_to_99_without_gaps_or_steps_back() -> None:
    whole = [percent(stage, step, 10) for stage in Stage for step in range(11)]
    assert whole == sorted(whole)
    assert (whole[0], whole[-1]) == (0, 99)


# -- storage -------------------------------------------------------------------------------------------------


class Scripted:
    """A storage that answers each put by the next line of a script."""

    def __init__(self, *answers: Any) -> None:
        self.answers, self.deleted, self.types = list(answers), [], []

    def put(self, key: str, body: bytes, content_type: str) -> StoredObject:
        self.types.append(content_type)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return StoredObject(key, len(body), answer, 0.0)

    def delete(self, key: str) -> None:
        self.deleted.append(key)


def uploader(storage: Any, told: list[Any], patience_s: float = 10.0) -> Uploader:
    now = [0.0]

    def pause(seconds: float) -> None:
        now[0] += seconds

    return Uploader(storage, patience_s=patience_s, tell=told.append, clock=lambda: now[0], pause=pause)


def go_on() -> None:
    """May always go on."""


def test_object_that_arrived_otherwise_than_sent_is_sent_again(attempt: Attempt) -> None:
    told: list[Any] = []
    storage = Scripted("0" * 64, None)
    stored = uploader(storage, told).put(attempt, "video.mp4", b"film", "video/mp4", go_on)
    assert stored.key == "default/video_a/1/video.mp4"
    assert len(told) == 1
    assert storage.types == ["video/mp4"] * 2


def test_upload_ends_after_its_patience(attempt: Attempt) -> None:
    told: list[Any] = []
    storage = Scripted(*[StorageUnavailable("no")] * 100)
    with pytest.raises(StorageUnavailable):
        uploader(storage, told).put(attempt, "video.mp4", b"film", "video/mp4", go_on)
    assert 3 <= len(told) <= 10
    assert all(isinstance(event, StorageRetried) for event in told)
    assert attempt.stored == ["default/video_a/1/video.mp4"]  # a try without an answer may have stored it


def test_upload_stops_between_two_tries_when_the_lease_is_gone(attempt: Attempt) -> None:
    allowed = [True, True, False]

    def may_go_on() -> None:
        if not allowed.pop(0):
            raise Stopped(Stop.LOST_TOLD)

    storage = Scripted(*[StorageUnavailable("no")] * 10)
    with pytest.raises(Stopped):
        uploader(storage, []).put(attempt, "video.mp4", b"film", "video/mp4", may_go_on)
    assert len(storage.answers) == 8


@pytest.mark.parametrize(
    ("answer", "may"),
    [
        (Finished(True, 1, State.SUCCEEDED), False),
        (Finished(False, 2, State.SUCCEEDED), True),
        (Finished(False, 2, State.RUNNING), True),  # a later attempt has taken the place
        (Finished(False, 1, State.CANCELLED), True),
        (Finished(False, 0, State.FAILED), True),
        (Finished(False, 0, State.QUEUED), False),  # nothing is decided
        (Finished(False, 0, None), False),  # no record: the janitor's business
    ],
)
def test_only_a_proof_of_defeat_allows_deletion(attempt: Attempt, answer: Finished, may: bool) -> None:
    assert may_withdraw(attempt, answer) is may
    storage = Scripted()
    attempt.stored.extend([attempt.key("keyframe.png"), attempt.key("video.mp4")])
    keyframe = Artifact(
        key=attempt.key("keyframe.png"),
        content_type="image/png",
        bytes=1,
        sha256="a" * 64,
        width=32,
        height=16,
    )
    record = attempt.job.model_copy(update={"keyframe": keyframe})
    uploader(storage, []).withdraw(attempt, answer, record)
    assert storage.deleted == ([attempt.key("video.mp4")] if may else [])
    uploader(storage, []).withdraw(attempt, answer, None)
    assert storage.deleted == ([attempt.key("video.mp4")] if may else [])


# -- patience ------------------------------------------------------------------------------------------------


def test_patience_asks_until_it_is_answered() -> None:
    answers: list[Any] = [StoreUnavailable("away"), StoreUnavailable("away"), "yes"]
    told: list[Any] = []

    def send() -> str:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return str(answer)

    assert Patience(threading.Event(), pulse=Pulse(), tell=told.append).ask("finish", send) == "yes"
    assert told == [StoreUnreachable("finish", "away")] * 2


def test_patience_ends_when_told_to_leave_but_tries_once() -> None:
    leave = threading.Event()
    leave.set()
    tries: list[int] = []

    def send() -> None:
        tries.append(1)
        raise StoreUnavailable("away")

    with pytest.raises(GaveUp):
        Patience(leave, pulse=Pulse(), tell=tries.append).ask("release", send)
    assert tries[0] == 1
    assert Patience(leave, pulse=Pulse(), tell=tries.append).ask("release", lambda: 5) == 5


# -- verdicts ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "remedy", "code", "retryable", "expected"),
    [
        (BadInput("fps 31 is outside 1..30"), Remedy.FAIL, "invalid_input", False, True),
        (NonFiniteLatents("NaN"), Remedy.FAIL, "non_finite", False, True),
        (EncodeFailed("odd"), Remedy.FAIL, "encode_failed", False, True),
        (StorageUnavailable("no"), Remedy.GIVE_BACK, "storage_unavailable", True, True),
        (torch.OutOfMemoryError("x"), Remedy.FAIL, "out_of_memory", False, True),
        (MemoryError(), Remedy.FAIL, "out_of_memory", False, True),
        (RuntimeError("CUDA error: out of memory"), Remedy.FAIL, "out_of_memory", False, True),
        (RuntimeError("CUDA error: device-side assert triggered"), Remedy.LEAVE, "internal", True, False),
        (RuntimeError("CUBLAS_STATUS_EXECUTION_FAILED when calling"), Remedy.LEAVE, "internal", True, False),
        (RuntimeError("CUBLAS_STATUS_ALLOC_FAILED"), Remedy.FAIL, "out_of_memory", False, True),
        (torch.AcceleratorError("illegal memory access"), Remedy.LEAVE, "internal", True, False),
        (RuntimeError("shape mismatch"), Remedy.FAIL, "internal", True, False),
        (ValueError("CUDA error in a prompt"), Remedy.FAIL, "internal", True, False),
    ],
)
def test_verdicts(error: Exception, remedy: Remedy, code: str, retryable: bool, expected: bool) -> None:
    verdict = judge(error, TorchAccelerator())
    assert (verdict.remedy, verdict.failure.code) == (remedy, FailureCode(code))
    assert (verdict.failure.retryable, verdict.expected) == (retryable, expected)


def test_freeing_memory_lets_go_of_what_the_traceback_holds() -> None:
    import weakref

    class Big:
        pass

    kept: list[Any] = []

    def allocate() -> None:
        big = Big()
        kept.append(weakref.ref(big))
        raise MemoryError

    try:
        allocate()
    except MemoryError as error:
        assert kept[0]() is not None
        TorchAccelerator().free_memory(error)
        assert kept[0]() is None


# -- watchdog ------------------------------------------------------------------------------------------------


def until(true: Callable[[], bool], seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize("last_words_fail", [False, True])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_watchdog_ends_a_silent_process_even_without_last_words(last_words_fail: bool) -> None:
    ended: list[int] = []
    said: list[float] = []

    def last_words(silence_s: float) -> None:
        said.append(silence_s)
        if last_words_fail:
            raise OSError("nobody listens")

    dog = Watchdog(Pulse(), 0.1, last_words=last_words, end=ended.append)
    dog.start()
    until(lambda: bool(ended))
    dog.stop()
    assert ended[0] == EXIT_HUNG == 70
    assert said[0] > 0.1


def test_watchdog_lets_a_beating_process_be() -> None:
    ended: list[int] = []
    pulse = Pulse()
    dog = Watchdog(pulse, 0.2, last_words=lambda _: None, end=ended.append)
    dog.start()
    for _ in range(25):
        pulse.beat()
        time.sleep(0.02)
    dog.stop()
    assert ended == []


def test_rhythm_outlives_a_bad_beat_and_can_be_nudged(caplog: pytest.LogCaptureFixture) -> None:
    calls: list[int] = []

    def action() -> None:
        calls.append(1)
        if len(calls) == 1:
            raise ValueError("one bad beat")

    rhythm = Rhythm("test", 60.0, action)
    rhythm.start()
    until(lambda: len(calls) == 1)
    until(lambda: "one bad beat" in caplog.text)
    rhythm.nudge()
    until(lambda: len(calls) == 2)
    rhythm.stop()
    rhythm.nudge()
    time.sleep(0.05)
    assert len(calls) == 2


# -- catalogue and settings ----------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", [MICRO, SD21])
def test_public_bounds_allow_exactly_the_frames_of_the_architecture(spec: Any) -> None:
    stepped = dataclasses.replace(spec.frames, minimum=5, maximum=21, default=9, step=4)
    for rule in (spec.frames, stepped):
        public = public_spec(
            dataclasses.replace(spec, frames=rule), weight_hash="feedface", pool="p", samplers=["ddim"]
        )
        assert [n for n in range(50) if public.frames.allows(n)] == [n for n in range(50) if rule.allows(n)]
    assert public.sizes == spec.sizes
    assert (public.pool, public.steps.default, public.gamma.max) == ("p", spec.video_steps, 0.05)


def test_settings_refuse_a_lease_that_two_lost_beats_would_cost() -> None:
    with pytest.raises(ValidationError, match=r"beat_s 6.0 must be at most a third of lease_s 15.0"):
        WorkerSettings(beat_s=6)


def test_shipped_weights_are_the_default() -> None:
    assert WorkerSettings().weights.parts[-2:] == ("models", "micro")


def test_two_starts_on_one_device_have_two_names() -> None:
    settings = WorkerSettings(CUDA_VISIBLE_DEVICES="0,1")
    one, two = worker_name(settings), worker_name(settings)
    assert one != two
    assert "gpu0_1" in one
