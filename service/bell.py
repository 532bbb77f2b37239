"""Wakes workers. A lost ring costs seconds, never a job, so failures are logged and not raised."""

from collections.abc import Callable
from dataclasses import dataclass

from service.access import in_thread
from service.logs import get_logger
from service.queue import Tickets
from service.store.errors import StoreUnavailable

#: Nobody waits longer than this for a ring (seconds).
RING_LIMIT_S = 1.0

log = get_logger(__name__)


@dataclass(frozen=True)
class Bell:
    """Tickets, pushed from an event loop (RQ's client blocks)."""

    tickets: Tickets

    async def work_in(self, pool: str) -> None:
        """Wake one worker of `pool`; without this ring the sweep does it within seconds."""
        await _ring(lambda: self.tickets.push(pool), pool=pool)

    async def call_off(self, worker: str, job_id: str) -> None:
        """Tell `worker` that a job was cancelled; without this ring its next beat learns it."""
        await _ring(lambda: self.tickets.call_off(worker, job_id), worker=worker, job_id=job_id)


async def _ring(push: Callable[[], None], **facts: str) -> None:
    try:
        await in_thread(push, RING_LIMIT_S)
    except (StoreUnavailable, TimeoutError) as error:
        log.warning("ring_lost", reason=type(error).__name__, detail=str(error), **facts)
