"""What a worker tells and does for the others while it lives.

It announces itself and the models it serves, and it takes its turn at the sweep: jobs whose worker fell
silent go back to the queue, and pools that hold fewer tickets than claimable jobs get more. Every gateway
and worker sweeps; the record lets one at a time through.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from redis.exceptions import RedisError

from service.contracts.model_spec import ModelSpec
from service.queue import Tickets
from service.store.store import JobStore
from worker.events import StoreUnreachable, Tell
from worker.rhythm import Rhythm

ANNOUNCE_EVERY_S = 3.0
SWEEP_EVERY_S = 1.0


class Presence:
    """The worker's entry on the list of live workers, renewed every few seconds until it retires.

    The answer may be that an operator wants this worker to drain: `on_drain` is called then, once.
    """

    def __init__(
        self,
        store: JobStore,
        worker: str,
        pool: str,
        specs: Sequence[ModelSpec],
        *,
        tell: Tell,
        on_drain: Callable[[], object],
        clock: Callable[[], float] = time.monotonic,
        every_s: float = ANNOUNCE_EVERY_S,
    ) -> None:
        self._store, self._worker, self._pool, self._specs = store, worker, pool, specs
        self._tell, self._on_drain, self._clock = tell, on_drain, clock
        self._heard_at: float | None = None
        self._retiring = False
        self._asked_to_drain = False
        self._rhythm = Rhythm("presence", every_s, self._announce)

    def start(self) -> None:
        """Announce now and then steadily."""
        self._rhythm.start()

    def retire(self) -> None:
        """Take no more work from now on; the list learns it within moments.

        Only sets a flag: safe in a signal.
        """
        self._retiring = True
        self._rhythm.nudge()

    def stop(self) -> None:
        """Stop announcing and leave the list, if it can be reached."""
        self._retiring = True
        self._rhythm.stop()
        self._announce()

    @property
    def unheard_s(self) -> float:
        """Seconds since the record last answered an announcement; infinite if it never did."""
        return float("inf") if self._heard_at is None else self._clock() - self._heard_at

    def _announce(self) -> None:
        try:
            if self._retiring:
                self._store.retire(self._worker)
            elif self._store.announce(self._worker, self._pool, self._specs) and not self._asked_to_drain:
                self._asked_to_drain = True
                self._on_drain()
        except RedisError as error:
            self._tell(StoreUnreachable("announce", str(error)))
            return
        self._heard_at = self._clock()


class Sweep:
    """This worker's share of the sweep, on a connection and a thread of its own."""

    def __init__(
        self, store: JobStore, tickets: Tickets, lease_s: float, *, tell: Tell, every_s: float = SWEEP_EVERY_S
    ) -> None:
        self._store, self._tickets, self._lease_s, self._tell = store, tickets, lease_s, tell
        self._rhythm = Rhythm("sweep", every_s, self.sweep)

    def start(self) -> None:
        """Begin to sweep."""
        self._rhythm.start()

    def stop(self) -> None:
        """Stop sweeping."""
        self._rhythm.stop()

    def sweep(self) -> None:
        """One turn. A turn that another process has just taken costs one short question."""
        try:
            self._tickets.top_up(self._store.reap(self._lease_s).wanted)
        except RedisError as error:
            self._tell(StoreUnreachable("sweep", str(error)))
