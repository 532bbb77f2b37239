"""The small parts, each by itself: gate, uploads, verdicts, watchdog, catalogue, settings."""

import threading
from typing import Any

import pytest

from service.contracts.artifact import Artifact
from service.contracts.lifecycle import Stage, State
from service.storage.artifact_store import StorageUnavailable, StoredObject
from service.store.errors import StoreUnavailable
from service.store.nouns import Finished
from worker.attempt import Attempt
from worker.events import StorageRetried, StoreUnreachable
from worker.lease import Leases
from worker.patience import GaveUp, Patience
from worker.step_gate import NOTE_AGAIN_S, NOTE_POINTS, StepGate, percent
from worker.stops import Stop, Stopped
from worker.upload import Uploader, may_withdraw
from worker.watchdog import Pulse


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


@pytest.mark.parametrize(
    ("steps", "fewest", "most"),
    [
        (100, 10, 100 / NOTE_POINTS + 2),  # every few percent
        (1000, 5, 9),  # so slow that four times a second is sooner
    ],
)
def test_steps_are_told_every_few_percent_or_four_times_a_second_and_the_ends_always(
    ward: Any, attempt: Attempt, steps: int, fewest: float, most: float
) -> None:
    gated = Gated(ward.store, attempt)
    taken = [*range(101), *([steps] if steps > 100 else [])]  # a hundred of them in one second
    for step in taken:
        gated.gate.note(attempt, Stage.IMAGE_TO_VIDEO, step, steps)
        gated.now += 0.01
    told = [step for _, step, _ in ward.notes()]
    assert (told[0], told[-1]) == (0, steps)
    assert fewest <= len(told) <= most


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
    two = [Stage.TEXT_TO_IMAGE, Stage.IMAGE_TO_VIDEO, Stage.ENCODE, Stage.UPLOAD]
    one = [Stage.TEXT_TO_VIDEO, Stage.ENCODE, Stage.UPLOAD]
    assert {*two, *one} == set(Stage)
    for way in (two, one):
        whole = [percent(stage, step, 10) for stage in way for step in range(11)]
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
