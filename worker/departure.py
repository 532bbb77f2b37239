"""The end of a drain: whoever told the worker to go may not wait for as long as its video takes.

A cloud takes a spot GPU back seconds after its notice, and Kubernetes kills what is still there at the end of
the grace period. A worker that knows how long it has gives its job back in time, kept as it stands.
"""

from __future__ import annotations

import signal
from collections.abc import Callable

from worker.engine import Engine
from worker.gpu_worker import ECHO
from worker.rhythm import Rhythm

LOOK_EVERY_S = 0.2


class Departure:
    """Has the engine leave `grace_s` seconds after it was told to drain; None: it may finish what it has.

    A thread that looks at a clock: a timer could not be started from inside a signal.
    """

    def __init__(self, engine: Engine, grace_s: float | None) -> None:
        self._engine, self._grace_s = engine, grace_s
        self._rhythm = Rhythm("departure", LOOK_EVERY_S, self._look)

    def start(self) -> None:
        """Begin to look."""
        if self._grace_s is not None:
            self._rhythm.start()

    def stop(self) -> None:
        """Stop looking."""
        self._rhythm.stop()

    def _look(self) -> None:
        if self._grace_s is not None and self._engine.draining_s >= self._grace_s:
            self._engine.leave()


def leave_on_signal(engine: Engine, clock: Callable[[], float]) -> None:
    """RQ's way out is gone with its loop; a signal now means: hand back what waits in the spool."""
    deaf_until = clock() + ECHO.total_seconds()

    def leave(_signal: int, _frame: object) -> None:
        if clock() >= deaf_until:
            engine.leave()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, leave)


def end_before_the_loop(_signal: int, _frame: object) -> None:
    """Until RQ's loop takes the signals over nothing is held, so the way out is short."""
    raise SystemExit(0)
