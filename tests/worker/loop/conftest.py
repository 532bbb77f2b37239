"""The loop as it runs in service: in the main thread, with real signals, and something else meanwhile."""

import dataclasses
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from worker.departure import end_before_the_loop
from worker.events import tell_all
from worker.main import serve
from worker.metrics import WorkerMetrics


@pytest.fixture(autouse=True)
def own_process() -> Iterator[None]:
    """A worker takes signals and the root logger over for good; pytest wants them back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    root = logging.getLogger()
    outlets, level = root.handlers[:], root.level
    for number in before:
        signal.signal(number, end_before_the_loop)
    yield
    root.handlers[:] = outlets
    root.setLevel(level)
    for number, reaction in before.items():
        signal.signal(number, reaction)


def sigterm() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def until(true: Callable[[], bool], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


class Meanwhile(threading.Thread):
    """Does something beside the loop; an error in it fails the test."""

    def __init__(self, action: Callable[[], None]) -> None:
        super().__init__(daemon=True)
        self._action, self.error = action, None
        self.start()

    def run(self) -> None:
        try:
            self._action()
        except BaseException as error:  # noqa: BLE001 - given to the test
            self.error = error
        finally:
            sigterm()

    def finish(self) -> None:
        self.join(60)
        if self.error is not None:
            raise self.error


def run(
    ward: Any,
    end: Callable[[int], object] = os._exit,
    leave: threading.Event | None = None,
    **settings: Any,
) -> tuple[int, WorkerMetrics]:
    metrics = WorkerMetrics()
    parts = ward.parts(**settings)
    parts = dataclasses.replace(parts, tell=tell_all(metrics.tell, parts.tell), end=end)
    if leave is not None:
        parts = dataclasses.replace(parts, leave=leave)
    try:
        return serve(parts, metrics), metrics
    except SystemExit as early:  # the signal came before RQ's loop had begun, as in main()
        return int(early.code or 0), metrics


def value(metrics: WorkerMetrics, name: str, **labels: str) -> float:
    return metrics.registry.get_sample_value("microcinema_worker_" + name, labels) or 0.0


@dataclass(frozen=True)
class Loop:
    """Short ways to run a whole worker and to do something meanwhile."""

    run = staticmethod(run)
    until = staticmethod(until)
    value = staticmethod(value)
    sigterm = staticmethod(sigterm)
    meanwhile = Meanwhile


@pytest.fixture
def loop() -> type[Loop]:
    return Loop
