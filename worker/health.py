"""Whether this worker lives and whether it takes jobs, as its probes and the supervisor want to know it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf

from worker.watchdog import Pulse

UNHEARD_S = 10.0
"""Three announcements without an answer: the record does not count on this worker any more."""


class Health:
    """Loading: alive, not ready. At work: alive while the pulse beats, ready while it is announced."""

    def __init__(self, pulse: Pulse) -> None:
        self._pulse, self._grace_s = pulse, inf
        self._unheard_s: Callable[[], float] | None = None
        self._stopping: Callable[[], bool] = lambda: False
        self._spool_full: Callable[[], bool] = lambda: False

    def at_work(
        self,
        grace_s: float,
        *,
        unheard_s: Callable[[], float],
        stopping: Callable[[], bool],
        spool_full: Callable[[], bool],
    ) -> None:
        """The model is warm and the loop begins. `grace_s`: of silence, before the worker counts as hung.

        `unheard_s`: seconds since an announcement was answered.
        """
        self._grace_s, self._stopping, self._spool_full = grace_s, stopping, spool_full
        self._unheard_s = unheard_s

    def live(self) -> Mapping[str, bool]:
        """Loading may take minutes and has no pulse; from then on silence means a hang."""
        return {"moving": self._unheard_s is None or self._pulse.silence_s <= self._grace_s}

    def ready(self) -> Mapping[str, bool]:
        """Every part must hold for jobs to come this way."""
        warm = self._unheard_s is not None
        return {
            "warm": warm,
            "announced": self._unheard_s is not None and self._unheard_s() <= UNHEARD_S,
            "accepting": not self._stopping(),
            "room": not self._spool_full(),
        }
