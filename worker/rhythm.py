"""A thread that does one thing at a steady beat, and never dies of one bad beat."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

logger = logging.getLogger(__name__)


class Rhythm:
    """Calls `action` every `period_s` seconds in a daemon thread, from `start()` until `stop()`.

    An exception out of `action` is logged with its traceback and the rhythm goes on: each user of this class
    (beats, announcements, sweeps) is something whose silence is worse than one failed call.
    """

    def __init__(self, name: str, period_s: float, action: Callable[[], object]) -> None:
        self._name, self._period_s, self._action = name, period_s, action
        self._wake = threading.Event()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin; the first call of `action` comes at once."""
        self._thread.start()

    def nudge(self) -> None:
        """Ask for the next call now instead of at the next beat."""
        self._wake.set()

    def stop(self, patience_s: float = 5.0) -> None:
        """End the rhythm; wait up to `patience_s` seconds for a call in progress. Safe before `start()`."""
        self._ended.set()
        self._wake.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(patience_s)

    def _run(self) -> None:
        while not self._ended.is_set():
            self._wake.clear()
            try:
                self._action()
            except Exception:
                logger.exception("%s: one beat failed, the rhythm goes on", self._name)
            self._wake.wait(self._period_s)
