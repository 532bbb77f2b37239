"""Deletes artifacts that nobody needs: those of jobs whose time is over, and what dead attempts left behind.

It acts only on what the record says, never on silence: with Redis or the storage away it deletes nothing.
Bucket lifecycle rules could not do this, they cannot tell the winner of a job from a loser.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from service.contracts.ids import is_id
from service.contracts.job import VideoJob
from service.contracts.keys import artifact_prefix
from service.logs import get_logger
from service.storage.artifact_store import ArtifactStore, StorageError, StoredObject
from service.store.errors import NewerRecord, StoreUnavailable, UnreadableRecord
from service.store.store import JobStore

log = get_logger(__name__)

_LEASES = 10
_UNKNOWN_S = 3600.0
_MANY_JOBS = 20
_FAILURES_IN_A_ROW = 3


@dataclass(frozen=True)
class Cleared:
    """What one turn did: records forgotten, and objects deleted (those of the records included)."""

    jobs: int = 0
    objects: int = 0


class WrongRecord(Exception):
    """The storage holds many jobs and the record knows none of them: they do not belong together."""


class Janitor:
    """`lease_s` is the workers' lease; `clock` gives Unix seconds. Any number of them may work at once."""

    def __init__(
        self,
        jobs: JobStore,
        artifacts: ArtifactStore,
        lease_s: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._jobs = jobs
        self._artifacts = artifacts
        self._attempt_age_s = _LEASES * lease_s
        self._clock = clock

    def clear_doomed(self, limit: int = 100) -> Cleared:
        """Deletes the objects of up to `limit` doomed jobs, then their records. Raises StoreUnavailable.

        In this order a crash leaves a record that is cleared again, never an object that nobody knows.
        A job whose objects cannot be deleted stays for the next turn and does not hold up those behind it;
        several in a row mean that the storage is away, and the last StorageError ends the turn.
        """
        forgotten, objects, in_a_row = 0, 0, 0
        for job in self._jobs.doomed(limit):
            try:
                for stored in self._artifacts.list(artifact_prefix(job.tenant, job.id)):
                    self._artifacts.delete(stored.key)
                    objects += 1
            except StorageError as problem:
                in_a_row += 1
                log.warning("janitor_cannot_clear", job=job.id, reason=str(problem))
                if in_a_row == _FAILURES_IN_A_ROW:
                    raise
                continue
            in_a_row = 0
            forgotten += self._jobs.purge(job.id)
        return Cleared(forgotten, objects)

    def sweep(self) -> Cleared:
        """Deletes what attempts that are over left behind, and objects of jobs that do not exist.

        Nothing younger than ten leases goes, and of an unknown job nothing younger than an hour: its picture
        may have been stored for a submission that is still under way.
        Raises WrongRecord, StorageError or StoreUnavailable; the first before anything is deleted.
        """
        found = self._old_objects()
        records = {job_id: self._record(job_id) for _, job_id in found}
        if len(found) > _MANY_JOBS and not any(records.values()):
            raise WrongRecord(f"the record knows none of the {len(found)} jobs that the storage holds")
        leftovers = [
            stored.key
            for (tenant, job_id), objects in found.items()
            if not isinstance(record := records[job_id], NewerRecord | UnreadableRecord)
            for stored in self._leftovers(tenant, record, objects)
        ]
        for key in leftovers:
            self._artifacts.delete(key)
        return Cleared(objects=len(leftovers))

    def _record(self, job_id: str) -> VideoJob | NewerRecord | UnreadableRecord | None:
        """What a record of a newer version names, or a spoiled one, nobody here knows: its objects stay."""
        try:
            return self._jobs.record(job_id)
        except NewerRecord as error:
            return error
        except UnreadableRecord as error:
            log.warning("janitor_cannot_read", job=job_id)
            return error

    def _old_objects(self) -> dict[tuple[str, str], list[StoredObject]]:
        """By tenant and job. A key of any other form is not ours, and stays."""
        before = self._clock() - self._attempt_age_s
        found: dict[tuple[str, str], list[StoredObject]] = defaultdict(list)
        for stored in self._artifacts.list(""):
            parts = stored.key.split("/")
            if len(parts) == 4 and is_id(parts[1]) and _is_ours(parts[2]) and stored.modified < before:
                found[parts[0], parts[1]].append(stored)
        return dict(found)

    def _leftovers(
        self, tenant: str, job: VideoJob | None, objects: Sequence[StoredObject]
    ) -> list[StoredObject]:
        if job is None or job.tenant != tenant:
            before = self._clock() - max(_UNKNOWN_S, self._attempt_age_s)
            return [stored for stored in objects if stored.modified < before]
        return [stored for stored in objects if _is_over(stored.key, job) and not job.names(stored.key)]

    def run(
        self,
        stop: threading.Event,
        every_s: float,
        sweep_every_s: float,
        observe: Callable[[Cleared], None],
    ) -> None:
        """Clears every `every_s` seconds and sweeps every `sweep_every_s` until `stop`.

        Troubles are logged and tried again at the next turn.
        """
        sweep_at = time.monotonic() + sweep_every_s
        while not stop.wait(every_s):
            self._turn(self.clear_doomed, observe)
            if time.monotonic() >= sweep_at:
                self._turn(self.sweep, observe)
                sweep_at = time.monotonic() + sweep_every_s

    def _turn(self, work: Callable[[], Cleared], observe: Callable[[Cleared], None]) -> None:
        try:
            cleared = work()
        except (StoreUnavailable, StorageError) as problem:
            log.warning("janitor_waits", reason=str(problem))
        except WrongRecord as problem:
            log.error("janitor_refuses", reason=str(problem))
        except Exception:
            log.exception("janitor_broke")  # a turn that breaks must not be the last one
        else:
            if cleared != Cleared():
                log.info("janitor_cleared", jobs=cleared.jobs, objects=cleared.objects)
            observe(cleared)


def _is_ours(folder: str) -> bool:
    return folder == "input" or (folder.isascii() and folder.isdigit())


def _is_over(key: str, job: VideoJob) -> bool:
    """Whether no attempt can come to name this key any more: only the newest one writes to the record."""
    folder = key.split("/")[2]
    return folder != "input" and (job.terminal or int(folder) < job.attempt)
