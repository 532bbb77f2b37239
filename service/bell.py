"""Wakes workers. A lost ring costs seconds, never a job, so failures are logged and not raised."""

import asyncio
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from service.access import in_thread
from service.logs import get_logger
from service.queue import Tickets
from service.store.errors import StoreUnavailable

Told = TypeVar("Told")

#: Nobody waits longer than this for a ring (seconds).
RING_LIMIT_S = 1.0
#: Under many submissions a ring takes a thread no more often than this (seconds): it wakes for all of them.
REST_S = 0.02
#: Where so many tickets lie that more are of no use, nobody is rung for in this time (seconds): they wake
#: whoever comes, and the sweep looks after what is left.
ENOUGH_S = 0.25

log = get_logger(__name__)


class Bell:
    """Tickets, pushed from an event loop (RQ's client blocks)."""

    def __init__(self, tickets: Tickets) -> None:
        self.tickets = tickets
        self._wanted: Counter[str] = Counter()
        self._ringing: asyncio.Task[None] | None = None
        self._enough_until: dict[str, float] = {}

    def work_in(self, pool: str) -> None:
        """Wake one worker of `pool`, in a moment; without this ring the sweep does it within seconds.

        The client's answer does not wait for it. The first ring is at once; what comes while it is under way,
        or right behind it, is one ring more.
        """
        if asyncio.get_running_loop().time() < self._enough_until.get(pool, 0.0):
            return
        self._wanted[pool] += 1
        if self._ringing is None or self._ringing.done():
            self._ringing = asyncio.create_task(self._ring_for_all())

    async def call_off(self, worker: str, job_id: str) -> None:
        """Tell `worker` that a job was cancelled; without this ring its next beat learns it."""
        await _ring(lambda: self.tickets.call_off(worker, job_id), worker=worker, job_id=job_id)

    async def aclose(self) -> None:
        """The ring that is under way has ended."""
        if self._ringing is not None:
            await self._ringing

    async def _ring_for_all(self) -> None:
        while self._wanted:
            wanted, self._wanted = self._wanted, Counter[str]()
            for pool, count in wanted.items():
                if await _ring(partial(self.tickets.push, pool, count), pool=pool) is False:
                    self._enough_until[pool] = asyncio.get_running_loop().time() + ENOUGH_S
            await asyncio.sleep(REST_S)


async def _ring(push: Callable[[], Told], **facts: str) -> Told | None:
    """What `push` answers; None for a ring that was lost."""
    try:
        return await in_thread(push, RING_LIMIT_S)
    except (StoreUnavailable, TimeoutError) as error:
        log.warning("ring_lost", reason=type(error).__name__, detail=str(error), **facts)
        return None
