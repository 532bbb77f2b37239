"""The last resort against a native call that never returns.

Python cannot break into such a call, and the beat thread would go on keeping the leases of a worker that
does nothing. So whoever makes progress says so to the `Pulse`, and a `Watchdog` thread ends the process
after too long a silence: the supervisor starts a fresh one.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from worker.rhythm import Rhythm

EXIT_HUNG = 70  # EX_SOFTWARE of sysexits.h


class Pulse:
    """The time of the last sign of progress, by a monotonic clock. Safe to use from any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last = clock()

    def beat(self) -> None:
        """Something moved: a step, a frame, a try at a command, a turn of the idle loop."""
        self._last = self._clock()

    @property
    def silence_s(self) -> float:
        """Seconds since the last sign."""
        return self._clock() - self._last


class Watchdog:
    """Calls `last_words` and then `end` (which must not return) after `grace_s` seconds without a pulse."""

    def __init__(
        self,
        pulse: Pulse,
        grace_s: float,
        *,
        last_words: Callable[[float], None],
        end: Callable[[int], object],
        look_every_s: float = 1.0,
    ) -> None:
        self._pulse, self._grace_s = pulse, grace_s
        self._last_words, self._end = last_words, end
        self._rhythm = Rhythm("watchdog", min(look_every_s, grace_s / 4), self._look)

    def start(self) -> None:
        """Begin to watch; silence counts from now."""
        self._pulse.beat()
        self._rhythm.start()

    def stop(self) -> None:
        """Stop watching."""
        self._rhythm.stop()

    def _look(self) -> None:
        silence_s = self._pulse.silence_s
        if silence_s <= self._grace_s:
            return
        try:
            self._last_words(silence_s)
        finally:
            self._end(EXIT_HUNG)
