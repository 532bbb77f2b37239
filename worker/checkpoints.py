"""Stage 2 kept between two steps: what ends an attempt early costs the next one seconds of work, not minutes.

The story only copies a clip off the device; a thread stores it, so that the device never waits for a storage,
not even for one that is away. A stored clip counts once the record names it, and it is named by the story.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial

from models.orders import Progress
from service.contracts.artifact import Checkpoint
from service.contracts.keys import checkpoint_name
from service.contracts.lifecycle import Stage, State
from service.storage.artifact_store import ArtifactStore, StorageError
from service.store.errors import StoreUnavailable
from service.store.nouns import Note
from service.store.store import JobStore
from worker.attempt import Attempt
from worker.events import (
    CheckpointFailed,
    CheckpointIgnored,
    CheckpointKept,
    Resumed,
    StoreUnreachable,
    Tell,
)
from worker.lease import Held
from worker.step_gate import NOTE_AGAIN_S, percent
from worker.stops import Stop, Stopped

CONTENT_TYPE = "application/octet-stream"
LEAVING_S = 5.0
"""How long a worker that leaves waits for its last checkpoints, all together, before it goes without them."""


@dataclass(frozen=True)
class _Reached:
    """The newest step behind which an attempt could be kept."""

    stage: Stage
    step: int
    steps: int
    keep: Callable[[], bytes]


@dataclass(frozen=True)
class _Write:
    """A clip on its way into storage; `seconds` is how long the story stood still to copy its `bytes`."""

    stored: Future[Checkpoint]
    bytes: int
    seconds: float


@dataclass
class _Trail:
    """What one attempt has stored. `since` is when its last write began, by the worker's clock."""

    since: float
    reached: _Reached
    writing: _Write | None = None
    named: Checkpoint | None = None
    keys: list[str] = field(default_factory=list)

    @property
    def goes_further(self) -> bool:
        """Whether a write would keep more than the record names.

        A stage that ran out of memory begins again: its steps then have the names of those that were kept.
        """
        return self.writing is None and (self.named is None or self.named.step < self.reached.step)


class Checkpoints:
    """Keeps running attempts, each as an object of its own, every `every_s` seconds of work at most.

    Nothing that goes wrong here fails an attempt: it goes on without, and the next one begins further back.
    """

    def __init__(
        self,
        storage: ArtifactStore,
        store: JobStore,
        *,
        every_s: float,
        tell: Tell,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._storage, self._store, self._every_s = storage, store, every_s
        self._tell, self._clock = tell, clock
        self._thread = ThreadPoolExecutor(1, "checkpoint")
        self._trails: dict[Held, _Trail] = {}
        self._left: list[tuple[Attempt, Sequence[str]]] = []  # the thread's own
        self._quiet_until = float("-inf")
        self._leave_by: float | None = None

    def read(self, attempt: Attempt) -> bytes | None:
        """The clip that the record names, as it was stored; None if there is none (told, if one was lost)."""
        named = attempt.job.checkpoint
        if named is None:
            return None
        try:
            body = b"".join(self._storage.read(named.key))
        except StorageError as error:
            self._tell(CheckpointIgnored(*attempt.held, named.step, str(error)))
            return None
        if hashlib.sha256(body).hexdigest() != named.sha256:
            reason = f"{named.key!r} is not the object whose checksum the record holds"
            self._tell(CheckpointIgnored(*attempt.held, named.step, reason))
            return None
        return body

    def reached(self, attempt: Attempt, stage: Stage, progress: Progress, row: int) -> None:
        """A step is finished, and order `row` of it is this attempt's. Costs nothing."""
        if progress.keep is None:
            return
        reached = _Reached(stage, progress.step, progress.steps, partial(progress.keep, row))
        trail = self._trails.get(attempt.held)
        if trail is None:
            self._trails[attempt.held] = _Trail(attempt.began, reached)
            if progress.step > 1:
                self._tell(Resumed(*attempt.held, progress.step - 1))
        else:
            trail.reached = reached

    def keep(self, attempt: Attempt) -> None:
        """Name what has been stored meanwhile, and keep the step just reached if it is time.

        Raises Stopped if the record answers that the attempt is not current any more.
        """
        trail = self._trails.get(attempt.held)
        if trail is None:
            return
        if self._clock() >= self._quiet_until:
            self._name_what_is_stored(attempt, trail)
        if trail.goes_further and self._clock() - trail.since >= self._every_s:
            self._begin(attempt, trail)

    def leave(self, attempt: Attempt) -> None:
        """Keep the attempt as it stands: it is about to be given back. What does not work out is told."""
        trail = self._trails.get(attempt.held)
        if trail is None:
            return
        self._leave_by = self._leave_by or self._clock() + LEAVING_S
        try:
            self._await(trail)
            self._name_what_is_stored(attempt, trail)
            if trail.goes_further:
                self._begin(attempt, trail)
                self._await(trail)
                self._name_what_is_stored(attempt, trail)
        except Stopped:
            return  # giving it back will be refused too, and that tells

    def close(self, attempts: Sequence[Attempt]) -> None:
        """The story of these attempts is over: what nobody can go on from is deleted once that is sure."""
        for attempt in attempts:
            trail = self._trails.pop(attempt.held, None)
            if trail is not None and trail.keys:
                self._thread.submit(self._clear, (attempt, trail.keys))

    def look_again(self) -> None:
        """An attempt has ended behind its story, in the spool: its clips may go now. From any thread."""
        self._thread.submit(self._clear)

    def flush(self) -> None:
        """Wait until all is written and deleted, no longer than a worker may take to leave."""
        wait([self._thread.submit(self._clear)], LEAVING_S if self._leave_by is None else self._time_left())

    def _begin(self, attempt: Attempt, trail: _Trail) -> None:
        trail.since = self._clock()
        key = attempt.key(checkpoint_name(trail.reached.step))
        trail.keys.append(key)
        body = trail.reached.keep()
        seconds = self._clock() - trail.since
        stored = self._thread.submit(self._put, key, body, trail.reached.step)
        trail.writing = _Write(stored, len(body), seconds)

    def _put(self, key: str, body: bytes, step: int) -> Checkpoint:
        self._storage.put(key, body, CONTENT_TYPE)
        return Checkpoint(key=key, sha256=hashlib.sha256(body).hexdigest(), step=step)

    def _await(self, trail: _Trail) -> None:
        if trail.writing is not None:
            wait([trail.writing.stored], self._time_left())

    def _time_left(self) -> float:
        return max(0.0, (self._leave_by or self._clock()) - self._clock())

    def _name_what_is_stored(self, attempt: Attempt, trail: _Trail) -> None:
        """Have the record name the write that is done; one try, for the next step comes soon."""
        write = trail.writing
        if write is None or not write.stored.done():
            return
        error = write.stored.exception()
        if error is not None:
            trail.writing = None
            self._tell(CheckpointFailed(*attempt.held, str(error)))
            return
        kept = write.stored.result()
        try:
            current = self._store.note(*attempt.held, self._note(attempt, trail.reached, kept))
        except StoreUnavailable as away:
            self._tell(StoreUnreachable("note", str(away)))
            self._quiet_until = self._clock() + NOTE_AGAIN_S
            return
        if not current:
            raise Stopped(Stop.LOST_TOLD)
        self._tell(CheckpointKept(*attempt.held, kept.step, write.bytes, write.seconds))
        if trail.named is not None:
            self._thread.submit(self._delete, attempt, trail.named.key)
        trail.writing, trail.named = None, kept

    @staticmethod
    def _note(attempt: Attempt, at: _Reached, kept: Checkpoint) -> Note:
        attempt.progress = max(attempt.progress, percent(at.stage, at.step, at.steps))
        return Note(at.stage, at.step, at.steps, attempt.progress, checkpoint=kept)

    def _clear(self, *more: tuple[Attempt, Sequence[str]]) -> None:
        """Delete clips of attempts whose story is over; of those that the record has running, later."""
        self._left = [left for left in (*self._left, *more) if not self._is_settled(*left)]

    def _is_settled(self, attempt: Attempt, keys: Sequence[str]) -> bool:
        """Deletes the attempt's own clips if the record, not silence, says that nobody will want them."""
        try:
            record = self._store.record(attempt.job.id)
        except StoreUnavailable as away:
            self._tell(StoreUnreachable("record", str(away)))
            return False
        if record is not None and (record.terminal or record.attempt > attempt.number):
            for key in keys:
                if not record.names(key):
                    self._delete(attempt, key)
        return record is None or record.state is not State.RUNNING or record.attempt > attempt.number

    def _delete(self, attempt: Attempt, key: str) -> None:
        try:
            self._storage.delete(key)
        except StorageError as error:
            self._tell(CheckpointFailed(*attempt.held, str(error)))  # the janitor takes it
