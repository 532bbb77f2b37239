"""Tickets: RQ jobs that say "there is work". They carry no truth, so losing or doubling one costs nothing.

A lost ticket is replaced by the next top-up; a surplus one is a claim that finds nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from redis import Redis
from rq import Queue
from rq.command import send_command

from service.store.errors import reaching_redis

GPU_FUNCTION: Final = "worker.engine.run_ticket"
DELIVERY_FUNCTION: Final = "service.notifier.delivery.run_ticket"
DELIVERY_QUEUE: Final = "webhooks"

_KEEP_S: Final = 60  # RQ's own trace of a ticket is of no use for longer
_ENOUGH_TICKETS: Final = 256
"""A queue this long wakes every worker that could be there; more would only fill Redis while nobody works."""
_NO_TIMEOUT: Final = -1  # the lease and the watchdog bound the work; RQ's alarm cannot break into a GPU call


def gpu_queue(pool: str) -> str:
    """The one RQ queue that a GPU worker of `pool` listens to."""
    return f"gpu-{pool}"


@dataclass(frozen=True)
class Tickets:
    """Pushes tickets over a blocking client whose replies are bytes (RQ needs that).

    Every method raises StoreUnavailable when Redis does not answer.
    """

    redis: Redis

    def push(self, pool: str, count: int = 1) -> bool:
        """Wake so many workers of `pool`: after created submissions, an approval, a release.

        No more than makes many tickets wait: one of them finds the job, or the sweep adds another. False when
        so many do.
        """
        room = _ENOUGH_TICKETS - self.waiting(gpu_queue(pool))
        for _ in range(min(count, room)):
            self._enqueue(gpu_queue(pool), GPU_FUNCTION)
        return count < room

    def top_up(self, wanted: Mapping[str, int]) -> int:
        """Fill each pool's queue up to the number of tickets it should have (see Reaped); returns how many
        were pushed."""
        pushed = 0
        for pool, count in wanted.items():
            for _ in range(count - self.waiting(gpu_queue(pool))):
                self.push(pool)
                pushed += 1
        return pushed

    def push_delivery(self) -> None:
        """Wake one notifier: a delivery is due."""
        self._enqueue(DELIVERY_QUEUE, DELIVERY_FUNCTION)

    def waiting(self, queue: str) -> int:
        """Tickets that lie in an RQ queue."""
        with reaching_redis():
            return self._queue(queue).count

    def call_off(self, worker: str, job_id: str) -> None:
        """Tell a worker at once that a job was cancelled. Only a hint: the next beat says it too."""
        with reaching_redis():
            send_command(self.redis, worker, "cancel", job_id=job_id)

    def _queue(self, name: str) -> Queue:
        return Queue(name, connection=self.redis, serializer="json")

    def _enqueue(self, queue: str, function: str) -> None:
        with reaching_redis():
            self._queue(queue).enqueue_call(
                function,
                timeout=_NO_TIMEOUT,
                result_ttl=_KEEP_S,
                failure_ttl=_KEEP_S,
                description="ticket",
            )
