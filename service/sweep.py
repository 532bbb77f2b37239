"""The gateway's share of the sweep: requeue what dead workers held, and refill each pool's tickets.

Every gateway and worker tries it each second; the reap script lets one of them through at a time.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field

import anyio.to_thread
from redis.exceptions import RedisError

from service.contracts.schema import RECORD_SCHEMA
from service.logs import get_logger
from service.queue import Tickets
from service.store.store import AsyncJobStore

log = get_logger(__name__)


@dataclass
class Sweep:
    """Reaps and tops up tickets every `every_s` seconds. `lease_s` must be the workers' own lease."""

    jobs: AsyncJobStore
    tickets: Tickets
    lease_s: float
    every_s: float = 1.0
    redis_answers: bool = True
    left: int = 0
    _aside_told: set[str] = field(default_factory=set)

    async def run(self, stop: asyncio.Event) -> None:
        """Sweeps until `stop` is set. An outage of Redis is logged once, when it begins and when it ends.

        Not ended by cancelling: the Redis client may take a cancellation for its own timeout and go on.
        """
        while not stop.is_set():
            try:
                await self.once()
                if not self.redis_answers:
                    log.info("sweep_goes_on")
                self.redis_answers = True
            except (RedisError, OSError, TimeoutError) as error:
                if self.redis_answers:
                    log.warning("sweep_waits_for_redis", reason=type(error).__name__, detail=str(error))
                self.redis_answers = False
            with suppress(TimeoutError):
                async with asyncio.timeout(self.every_s):
                    await stop.wait()

    async def once(self) -> None:
        """One sweep. Raises StoreUnavailable."""
        reaped = await self.jobs.reap(self.lease_s)
        for job_id in reaped.aside.keys() - self._aside_told:
            log.error("job_set_aside", job=job_id, flaw=reaped.aside[job_id])
        self._aside_told = set(reaped.aside)
        if not reaped.ran:
            return
        if reaped.left != self.left:
            log.warning("records_of_newer_version", left=reaped.left, reads_schema=RECORD_SCHEMA)
            self.left = reaped.left
        if reaped.ids or reaped.expired or reaped.extended:
            log.info("reaped", jobs=reaped.ids, expired=reaped.expired, extended=reaped.extended)
        if reaped.wanted:
            pushed = await anyio.to_thread.run_sync(self.tickets.top_up, reaped.wanted)
            if pushed:
                log.info("tickets_topped_up", pushed=pushed)
