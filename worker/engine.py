"""One ticket, one claim, one story.

RQ calls `run_ticket` by its name and knows nothing of the rest; main.py puts the engine in place before the
loop begins. What goes wrong stays inside: a ticket always ends well, the record says how the jobs ended.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence

from service.contracts.lifecycle import Stage, State
from service.storage.artifact_store import ArtifactStore, StorageError
from service.store.nouns import Claim
from service.store.store import JobStore
from worker.attempt import Attempt
from worker.events import AttemptBegan, BatchClaimed, Fault, StorageAway, Tell
from worker.lease import Leases
from worker.patience import GaveUp, Patience
from worker.settlement import DeviceBroken, Settlement
from worker.spool.spool import Spool
from worker.story import Story


class Engine:
    """Claims jobs and runs them, up to `max_batch()` at once: memory may allow fewer at times.

    `drain` (one SIGTERM) ends the claiming; the event `leave` (a second one, or the end of the grace for the
    first), shared with the gate and with patience, ends the running too.
    """

    def __init__(
        self,
        store: JobStore,
        storage: ArtifactStore,
        leases: Leases,
        spool: Spool,
        story: Story,
        settlement: Settlement,
        patience: Patience,
        *,
        worker: str,
        pool: str,
        models: Sequence[str],
        max_batch: Callable[[], int],
        lease_s: float,
        leave: threading.Event,
        tell: Tell,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._storage, self._leases = store, storage, leases
        self._spool, self._story, self._settlement, self._patience = spool, story, settlement, patience
        self._worker, self._pool, self._models = worker, pool, models
        self._max_batch, self._lease_s, self._leave = max_batch, lease_s, leave
        self._tell, self._clock = tell, clock
        self._draining_since: float | None = None
        self._broken = False
        self._starved = False

    @property
    def broken(self) -> bool:
        """Whether this process cannot be trusted any more; it must end and start afresh."""
        return self._broken

    @property
    def stopping(self) -> bool:
        """Whether no more jobs will be claimed."""
        return self._draining_since is not None or self._broken

    @property
    def draining_s(self) -> float:
        """Seconds since the worker was first told to drain; below 0 if it was not."""
        since = self._draining_since
        return -1.0 if since is None else self._clock() - since

    def drain(self) -> None:
        """Claim no more; what runs is finished. Only notes the time: safe in a signal."""
        if self._draining_since is None:
            self._draining_since = self._clock()

    def leave(self) -> None:
        """Give back what runs, between two steps. Only sets flags: safe in a signal."""
        self.drain()
        self._leave.set()

    def run_ticket(self) -> None:
        """Claim up to a batch of jobs and settle every one of them; with nothing to claim, return at once."""
        if self.stopping or self._spool.full or not self._storage_permits():
            return
        try:
            claims, asked_at, answered_at = self._patience.ask("claim", self._claim, self._unless_draining)
        except GaveUp:
            return  # if the claim took effect after all, its leases run out
        if claims:
            self._tell(BatchClaimed(tuple(claim.job.id for claim in claims)))
            for claim in claims:
                self._tell(_began(claim))
            self._run([_attempt(claim, asked_at, answered_at) for claim in claims])

    def _claim(self) -> tuple[tuple[Claim, ...], float, float]:
        asked_at = self._clock()
        known = self._spool.held
        claims = self._store.claim(
            self._pool, self._worker, self._max_batch(), self._lease_s, self._models, known
        )
        return claims, asked_at, self._clock()

    def _run(self, attempts: Sequence[Attempt]) -> None:
        with self._leases.holding([attempt.held for attempt in attempts], attempts[0].began):
            try:
                self._story.run(attempts)
            except Exception as error:  # noqa: BLE001 - told with its traceback; the process ends
                self._give_in([a for a in attempts if a.live and not a.in_spool], error)
        self._starved = self._starved or any(attempt.starved for attempt in attempts)

    def _give_in(self, attempts: Sequence[Attempt], error: Exception) -> None:
        """The device broke, or something of our own that no attempt is to blame for:

        end, and start afresh.
        """
        self._broken = True
        if not isinstance(error, DeviceBroken):
            for attempt in attempts:
                self._tell(Fault(*attempt.held, error))
        self._settlement.hand_back_broken(attempts, str(error))

    def _unless_draining(self) -> None:
        if self._draining_since is not None:
            raise GaveUp("claim")

    def _storage_permits(self) -> bool:
        """Whether what is claimed now can come to something.

        Without the storage it can: its video waits in the spool. But a job that must read from the storage
        is given back; from then on nothing is claimed before the storage is there again. The sweep goes on
        pushing tickets while jobs wait, so the question comes again within a second or so.
        """
        if self._spool.storage_away and not self._starved:
            return True
        try:
            self._storage.check()
        except StorageError as error:
            self._tell(StorageAway(str(error)))
            return not self._starved
        self._starved = False
        return True


def _attempt(claim: Claim, asked_at: float, answered_at: float) -> Attempt:
    """A lease is counted from before the question, so that it never seems longer than it is; a finish_by from
    behind the answer, so that the worker never thinks it passed before the record does."""
    left_s = claim.finish_in_s
    spent = claim.job.spent
    return Attempt(
        claim.job,
        claim.attempt,
        asked_at,
        None if left_s is None else answered_at + left_s,
        candidates=claim.job.candidates,
        stage_seconds=_by_stage(spent, "seconds"),
        stage_gpu_seconds=_by_stage(spent, "gpu_seconds"),
    )


def _began(claim: Claim) -> AttemptBegan:
    job = claim.job
    before = [each for each in job.tries if each.number < claim.attempt and each.ended_at is not None]
    approval = bool(before) and before[-1].outcome is State.AWAITING_APPROVAL
    since = max((each.ended_at or 0.0 for each in before), default=job.created_at)
    now = next((each.started_at for each in job.tries if each.number == claim.attempt), since)
    waited_for = "approval" if approval else "queue"
    return AttemptBegan(job.id, claim.attempt, job.tenant, job.traceparent, waited_for, since, now)


def _by_stage(spent: Mapping[str, float], what: str) -> dict[Stage, float]:
    return {stage: spent[f"{stage}_{what}"] for stage in Stage if f"{stage}_{what}" in spent}


class _Place:
    """Where RQ's call by name finds the engine of this process."""

    def __init__(self) -> None:
        self._engine: Engine | None = None

    def put(self, engine: Engine) -> None:
        """Set once by main.py, before the loop."""
        self._engine = engine

    def run_ticket(self) -> None:
        """What a ticket does."""
        if self._engine is None:
            raise RuntimeError("run_ticket was called in a process that is not a GPU worker")
        self._engine.run_ticket()


_place = _Place()
install = _place.put
run_ticket = _place.run_ticket
