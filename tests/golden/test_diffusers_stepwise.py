"""The bridge from calls to generators: order, cancellation, errors, and no thread left behind."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from models.orders import Progress
from models.stepwise import in_turn, result_of, stepwise


def counting(steps: int, done: list[int]) -> Callable[[Callable[[], None]], str]:
    def work(tell: Callable[[], None]) -> str:
        for step in range(1, steps + 1):
            done.append(step)
            tell()
        return "made"

    return work


def pipeline_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "pipeline"]


def test_work_stands_still_between_two_steps_and_its_value_comes_through() -> None:
    done: list[int] = []
    work = stepwise(counting(3, done), 3)
    assert next(work) == Progress(1, 3)
    assert done == [1]
    assert next(work) == Progress(2, 3)
    assert done == [1, 2]
    assert result_of(work) == "made"
    assert done == [1, 2, 3]
    assert pipeline_threads() == []


def test_closing_computes_not_one_step_more() -> None:
    done: list[int] = []
    work = stepwise(counting(50, done), 50)
    next(work)
    next(work)
    work.close()
    assert done == [1, 2]
    assert pipeline_threads() == []


def test_closing_before_the_first_step_starts_nothing() -> None:
    done: list[int] = []
    stepwise(counting(3, done), 3).close()
    assert done == []


def test_cancellation_passes_a_pipeline_that_catches_every_exception() -> None:
    survived: list[str] = []

    def work(tell: Callable[[], None]) -> None:
        try:
            tell()
        except Exception:  # noqa: BLE001 - what some pipelines do around a step
            survived.append("swallowed")
        survived.append("went on")

    bridge = stepwise(work, 1)
    next(bridge)
    bridge.close()
    assert survived == []


def test_errors_keep_type_text_and_the_place_where_they_began() -> None:
    def work(tell: Callable[[], None]) -> None:
        tell()
        raise ZeroDivisionError("deep inside")

    bridge = stepwise(work, 2)
    next(bridge)
    with pytest.raises(ZeroDivisionError, match="deep inside") as caught:
        next(bridge)
    assert caught.traceback[-1].name == "work"
    assert pipeline_threads() == []


def test_a_step_too_many_never_passes_the_end() -> None:
    done: list[int] = []
    assert list(stepwise(counting(4, done), 3)) == [Progress(n, 3) for n in (1, 2, 3, 3)]


def test_in_turn_is_one_piece_of_work() -> None:
    done: list[int] = []
    work = in_turn([lambda: stepwise(counting(2, done), 2)] * 3, 2)
    assert [next(work) for _ in range(6)] == [Progress(n, 6) for n in range(1, 7)]
    assert result_of(work) == ["made"] * 3
    assert done == [1, 2] * 3


def test_closing_in_turn_closes_the_piece_at_work() -> None:
    done: list[int] = []
    work = in_turn([lambda: stepwise(counting(2, done), 2)] * 2, 2)
    for _ in range(3):
        next(work)
    work.close()
    assert done == [1, 2, 1]
    assert pipeline_threads() == []


def test_work_that_calls_back_while_it_is_unwound_cannot_hang_the_worker() -> None:
    def work(tell: Callable[[], None]) -> None:
        try:
            tell()
        finally:
            tell()  # what a progress bar that is closed behind its loop may do

    bridge = stepwise(work, 1)
    next(bridge)
    closing = threading.Thread(target=bridge.close, daemon=True)
    closing.start()
    closing.join(10)
    assert not closing.is_alive()
    assert pipeline_threads() == []
