"""Asking again until there is an answer."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from service.store.errors import StoreUnavailable
from worker.events import StoreUnreachable, Tell
from worker.watchdog import Pulse

R = TypeVar("R")

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 2.0


class GaveUp(Exception):
    """The worker was told to go before there was an answer. The command may or may not have taken effect."""


class Patience:
    """Repeats commands on the record, all of which are safe to repeat, for as long as it does not answer.

    With the record away a worker has nothing better to do: it can neither claim nor finish. `leave` set (a
    second SIGTERM) is the way out.
    """

    def __init__(self, leave: threading.Event, *, pulse: Pulse, tell: Tell) -> None:
        self._leave, self._pulse, self._tell = leave, pulse, tell

    def ask(self, command: str, send: Callable[[], R], may_go_on: Callable[[], None] | None = None) -> R:
        """The answer to `send`. `may_go_on` is called before each try and ends the asking by raising.

        Raises GaveUp when told to leave; one try is always made if `may_go_on` lets it.
        """
        pause_s = FIRST_PAUSE_S
        while True:
            self._pulse.beat()
            if may_go_on is not None:
                may_go_on()
            try:
                return send()
            except StoreUnavailable as error:
                self._tell(StoreUnreachable(command, str(error)))
            if self._leave.wait(pause_s):
                raise GaveUp(command)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
