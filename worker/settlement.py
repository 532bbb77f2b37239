"""How an attempt ends here, told to the record in words that it cannot misunderstand.

Each attempt is settled exactly once: finished, released, or left. Left means that the record knows better
already (the lease went to somebody else) or cannot be asked; then the lease runs out and the sweep takes
over.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from service.contracts.artifact import Artifact
from service.contracts.failure import Failure, FailureCode
from service.contracts.lifecycle import State
from service.queue import Tickets
from service.store.errors import StoreUnavailable, UnreadableRecord
from service.store.nouns import Cancelled, Expired, Failed, Outcome, Succeeded
from service.store.store import JobStore
from worker.attempt import Attempt
from worker.device.accelerator import Accelerator
from worker.events import AttemptEnded, BatchSplit, DeviceFault, Fault, LeaseLost, StoreUnreachable, Tell
from worker.failures import Remedy, Verdict, judge
from worker.lease import Leases
from worker.patience import GaveUp, Patience
from worker.stops import Stop
from worker.upload import Uploader

GIVE_BACKS_MAX = 5
"""So many times at most a job goes back for a storage that is there and does not do its part; then it fails.
For one that is away it waits as long as it has to, and what else it went back for does not count."""


class DeviceBroken(Exception):
    """Nothing that this process computes from now on can be trusted; what is live must be handed back."""


class Settlement:
    """Ends attempts. After any method here the attempts given are not live any more."""

    def __init__(
        self,
        store: JobStore,
        tickets: Tickets,
        leases: Leases,
        uploader: Uploader,
        accelerator: Accelerator,
        patience: Patience,
        *,
        tell: Tell,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._tickets, self._leases, self._uploader = store, tickets, leases, uploader
        self._accelerator, self._patience, self._tell, self._clock = accelerator, patience, tell, clock

    def succeed(self, attempt: Attempt, artifact: Artifact, memory_rung: int = 0) -> None:
        """The video is stored. If the job was cancelled or taken over meanwhile, its object is withdrawn.

        `memory_rung` above 0 is kept with the job: it had to be made sparingly (worker/device/ladder.py).
        """
        usage: dict[str, float | str] = {**_spent(attempt)}
        usage["seconds"] = round(self._clock() - attempt.began, 3)
        usage["device"] = self._accelerator.kind
        if attempt.peak_memory is not None:
            usage["peak_memory_bytes"] = float(attempt.peak_memory)
        beside = (artifact.thumbnail, artifact.spritesheet)
        usage["bytes"] = float(artifact.bytes + sum(still.bytes for still in beside if still is not None))
        if memory_rung:
            usage["memory_rung"] = float(memory_rung)
        self._finish(attempt, Succeeded(artifact, usage))

    def hold(self, attempt: Attempt, approval_s: float) -> None:
        """The job waits, for so long at most, until its owner has chosen one of the candidates on record."""
        try:
            held = self._patience.ask(
                "hold", lambda: self._store.hold(*attempt.held, approval_s, _spent(attempt))
            )
        except GaveUp:
            self._end(attempt, "left", "hold")
            return
        self._end(attempt, "held" if held else "lost", "")

    def fail(self, attempt: Attempt, failure: Failure) -> None:
        """The job ends without a video."""
        self._finish(attempt, Failed(failure))

    def stop(self, attempt: Attempt, stop: Stop) -> None:
        """The gate is closed for this attempt."""
        match stop:
            case Stop.CANCEL:
                self._finish(attempt, Cancelled())
            case Stop.DEADLINE:
                sentence = f"the attempt ran for {self._clock() - attempt.began:.0f} s, which is its limit"
                code = FailureCode.DEADLINE_EXCEEDED
                self._finish(attempt, Failed(Failure(code=code, message=sentence, retryable=True)))
            case Stop.EXPIRED:
                sentence = "The video was not finished by its finish_by."
                failure = Failure(code=FailureCode.EXPIRED, message=sentence, retryable=True)
                self._finish(attempt, Expired(failure))
            case Stop.ABANDON:
                self._release(attempt, "worker_stopped")
            case Stop.LOST_SILENT:
                self._tell(LeaseLost(*attempt.held, "silence"))
                # The record may have been away for all of us; then the attempt is still ours to give back.
                self._release(attempt, "lease_silent")
            case Stop.LOST_TOLD:
                self._tell(LeaseLost(*attempt.held, "answer"))
                self._end(attempt, "lost", "")

    def trouble(self, attempts: Sequence[Attempt], error: Exception, together: int = 1) -> None:
        """An exception ended the work on these attempts, the last live ones of `together` that ran as one.

        Raises DeviceBroken and leaves them live if it was that.
        """
        verdict = judge(error, self._accelerator)
        if not verdict.expected:
            for attempt in attempts:
                self._tell(Fault(*attempt.held, error))
        if verdict.remedy is Remedy.LEAVE:
            raise DeviceBroken(str(error)) from error
        if verdict.failure.code is FailureCode.OUT_OF_MEMORY:
            self._accelerator.free_memory(error)
        if not attempts:
            return
        if max(len(attempts), together) > 1:
            self._split(attempts, verdict)
        elif verdict.remedy is Remedy.GIVE_BACK and self._may_go_back(attempts[0]):
            attempts[0].starved = True
            self._release(attempts[0], verdict.failure.code)
        else:
            self.fail(attempts[0], verdict.failure)

    def hand_back_broken(self, attempts: Sequence[Attempt], reason: str) -> None:
        """The worker broke under these attempts and must end.

        It counts as a loss: a job that breaks workers must not travel from one to the next for ever.
        """
        self._tell(DeviceFault(reason))
        for attempt in attempts:
            self._release(attempt, "device_fault", counts_as_loss=True, alone=True)

    def _may_go_back(self, attempt: Attempt) -> bool:
        before = sum(each.reason == FailureCode.STORAGE_UNAVAILABLE for each in attempt.job.tries)
        return before + 1 < GIVE_BACKS_MAX or not self._uploader.storage_is_there()

    def _split(self, attempts: Sequence[Attempt], verdict: Verdict) -> None:
        """One job of a batch may have spoilt it for all.

        Each runs alone next time, and only the guilty fails.
        """
        self._tell(BatchSplit(len(attempts), verdict.failure.code))
        for attempt in attempts:
            self._release(attempt, verdict.failure.code, alone=True)

    def _finish(self, attempt: Attempt, outcome: Outcome) -> None:
        try:
            answer = self._patience.ask(
                "finish", lambda: self._store.finish(*attempt.held, outcome, attempt.gpu_seconds)
            )
        except GaveUp:
            self._end(attempt, "left", "finish")
            return
        if answer.freed:
            self._wake(attempt.job.pool)
        if answer.accepted:
            self._end(attempt, *_names(outcome))
            return
        ended_by = {State.CANCELLED: "cancelled", State.EXPIRED: "expired"}
        self._end(attempt, ended_by.get(answer.state, "refused") if answer.state else "refused", "")
        if attempt.stored:
            try:
                self._uploader.withdraw(attempt, answer, self._store.record(attempt.job.id))
            except (StoreUnavailable, UnreadableRecord) as error:  # nothing to look at: nothing is deleted
                self._tell(StoreUnreachable("record", str(error)))

    def _release(
        self, attempt: Attempt, reason: str, *, counts_as_loss: bool = False, alone: bool = False
    ) -> None:
        def release() -> bool:
            return self._store.release(*attempt.held, reason, counts_as_loss=counts_as_loss, alone=alone)

        try:
            released = self._patience.ask("release", release)
        except GaveUp:
            self._end(attempt, "left", reason)
            return
        self._end(attempt, "released" if released else "lost", reason)
        if released:
            self._wake(attempt.job.pool)

    def _wake(self, pool: str) -> None:
        try:
            self._tickets.push(pool)
        except StoreUnavailable as error:
            self._tell(StoreUnreachable("ticket", str(error)))  # the sweep pushes it within a second

    def _end(self, attempt: Attempt, outcome: str, code: str) -> None:
        attempt.live = False
        self._leases.drop(attempt.held)
        self._tell(AttemptEnded(*attempt.held, outcome, code, self._clock() - attempt.began))


def _spent(attempt: Attempt) -> dict[str, float]:
    spent = {f"{stage}_seconds": round(seconds, 3) for stage, seconds in attempt.stage_seconds.items()}
    for stage, seconds in attempt.stage_gpu_seconds.items():
        spent[f"{stage}_gpu_seconds"] = round(seconds, 3)
    return spent | {"gpu_seconds": round(attempt.gpu_seconds, 3)}


def _names(outcome: Outcome) -> tuple[str, str]:
    match outcome:
        case Succeeded():
            return "succeeded", ""
        case Failed(failure):
            return "failed", failure.code
        case Cancelled():
            return "cancelled", ""
        case Expired():
            return "expired", ""
