"""Requests that wait for a job or a webhook (`Prefer: wait`): so many, for so long, at no one else's cost."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from service.refusals import Refusal

LONGEST_WAIT_S = 60
LOOK_EVERY_S = 0.25


class Awaited(Protocol):
    """What is looked at until it rests."""

    @property
    def at_rest(self) -> bool:
        """Whether there is no use in looking again."""
        ...


Seen = TypeVar("Seen", bound=Awaited)


class WaitingRoom:
    """`places` requests wait at most; the next ones are answered at once, which RFC 7240 allows.

    `clock` gives seconds of any origin that only grow.
    """

    def __init__(
        self,
        places: int,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._free, self._clock, self._pause = places, clock, pause

    async def until_ended(
        self,
        look: Callable[[], Awaitable[Seen]],
        wait_s: float,
        gone: Callable[[], Awaitable[bool]],
    ) -> Seen | None:
        """What `look` saw at rest, or as it stood after `wait_s` seconds (LONGEST_WAIT_S at most).

        None where there was no place to wait. It ends early when the client is `gone`, and when the record
        cannot be asked: what was accepted is accepted all the same.
        """
        if self._free <= 0:
            return None
        self._free -= 1
        try:
            until, seen = self._clock() + min(wait_s, LONGEST_WAIT_S), None
            try:
                while not (seen := await look()).at_rest and self._clock() < until and not await gone():
                    await self._pause(LOOK_EVERY_S)
            except Refusal:
                pass
            return seen
        finally:
            self._free += 1
