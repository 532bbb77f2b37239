"""Leases against a clock that moves only when told."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from service.store.errors import StoreUnavailable
from service.store.nouns import Beat
from worker.events import StoreUnreachable
from worker.lease import Held, Leases
from worker.stops import Stop

A, B = ("video_a", 1), ("video_b", 3)


class Record:
    """Answers beats as it is told to; `None` is no answer."""

    def __init__(self) -> None:
        self.answers: Mapping[str, Beat] | None = {"video_a": Beat.OK, "video_b": Beat.OK}
        self.asked: list[Sequence[Held]] = []

    def __call__(self, held: Sequence[Held]) -> Mapping[str, Beat]:
        self.asked.append(held)
        if self.answers is None:
            raise StoreUnavailable("away")
        return self.answers


@pytest.fixture
def now() -> list[float]:
    return [1000.0]


@pytest.fixture
def told() -> list[Any]:
    return []


@pytest.fixture
def leases(now: list[float], told: list[Any]) -> Leases:
    return Leases(15.0, tell=told.append, clock=lambda: now[0])


def test_lease_is_sure_from_before_the_claim_was_sent(leases: Leases, now: list[float]) -> None:
    with leases.holding([A], since=990.0):  # the claim's answer took ten seconds
        now[0] = 1004.9
        assert leases.stop_for(A) is None
        now[0] = 1005.0
        assert leases.stop_for(A) is Stop.LOST_SILENT


def test_beat_renews_from_before_it_was_sent(leases: Leases, now: list[float]) -> None:
    record = Record()

    def slow(held: Sequence[Held]) -> Mapping[str, Beat]:
        now[0] += 4.0
        return record(held)

    with leases.holding([A], since=now[0]):
        leases.beat(slow)
        now[0] = 1014.9
        assert leases.stop_for(A) is None
        now[0] = 1015.0
        assert leases.stop_for(A) is Stop.LOST_SILENT


def test_silence_costs_the_lease_only_when_its_time_is_over(
    leases: Leases, now: list[float], told: list[Any]
) -> None:
    record = Record()
    record.answers = None
    with leases.holding([A], since=now[0]):
        for _ in range(4):
            now[0] += 3.0
            leases.beat(record)
        assert leases.stop_for(A) is None
        record.answers = {"video_a": Beat.OK}
        leases.beat(record)
        now[0] += 14.0
        assert leases.stop_for(A) is None
    assert [type(event) for event in told] == [StoreUnreachable] * 4


@pytest.mark.parametrize(("answer", "stop"), [(Beat.CANCEL, Stop.CANCEL), (Beat.LOST, Stop.LOST_TOLD)])
def test_answer_is_never_taken_back(leases: Leases, now: list[float], answer: Beat, stop: Stop) -> None:
    record = Record()
    with leases.holding([A, B], since=now[0]):
        record.answers = {"video_a": answer, "video_b": Beat.OK}
        leases.beat(record)
        record.answers = {"video_a": Beat.OK, "video_b": Beat.OK}
        leases.beat(record)
        assert leases.stop_for(A) is stop
        assert leases.stop_for(B) is None


def test_loss_weighs_more_than_cancel(leases: Leases, now: list[float]) -> None:
    record = Record()
    with leases.holding([A], since=now[0]):
        for answer in (Beat.CANCEL, Beat.LOST, Beat.CANCEL):
            record.answers = {"video_a": answer}
            leases.beat(record)
        assert leases.stop_for(A) is Stop.LOST_TOLD


def test_attempt_that_is_not_held_may_not_go_on(leases: Leases, now: list[float]) -> None:
    record = Record()
    with leases.holding([A, B], since=now[0]):
        leases.drop(A)
        assert leases.stop_for(A) is Stop.LOST_TOLD
        leases.beat(record)
    assert record.asked == [(B,)]
    leases.beat(record)
    assert len(record.asked) == 1  # with nothing held there is nothing to ask
    assert leases.held == ()


def test_attempt_that_ends_during_a_beat_is_not_brought_back(leases: Leases, now: list[float]) -> None:
    def ends(held: Sequence[Held]) -> Mapping[str, Beat]:
        leases.drop(A)
        return {"video_a": Beat.OK}

    with leases.holding([A], since=now[0]):
        leases.beat(ends)
        assert leases.held == ()
