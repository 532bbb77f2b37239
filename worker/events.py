"""What happens inside a worker, as a closed set of facts.

The story (engine, attempt, gate, leases) states each fact once; metrics and the log are readers of these
facts and are composed in main.py. A reader must be quick and must not raise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from worker.memory_events import MemoryPlanned, MemoryRungClimbed, MemoryRungHelped, MemoryRungLeft


@dataclass(frozen=True)
class WeightsLoaded:
    """The model went into memory: once in a worker's life."""

    model: str
    seconds: float


@dataclass(frozen=True)
class BatchClaimed:
    """Jobs of one compat key were claimed together."""

    job_ids: tuple[str, ...]


@dataclass(frozen=True)
class AttemptBegan:
    """One job of a batch is this worker's to try. `traceparent`: the request that made it, empty if untraced.

    `waited_for` ("queue", or "approval" where its owner had to choose first) lasted from `waited_since` to
    `claimed_at`, in seconds since 1970 by the Redis server's clock.
    """

    job_id: str
    attempt: int
    tenant: str
    traceparent: str
    waited_for: str
    waited_since: float
    claimed_at: float


@dataclass(frozen=True)
class StepFinished:
    """One denoising step of a whole batch. `step` counts from 1."""

    stage: str
    step: int
    steps: int
    seconds: float


@dataclass(frozen=True)
class DeviceTimeSpent:
    """So many seconds of the device went by in a stage: what the attempts in it are billed together."""

    stage: str
    seconds: float


@dataclass(frozen=True)
class StageFinished:
    """A stage of one batch (model stages) or of one attempt (encode, upload), and whose it was."""

    stage: str
    seconds: float
    attempts: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class AttemptEnded:
    """How one try ended here.

    `outcome` is one of succeeded, failed, cancelled, expired, held, released, lost, refused (the record had
    already gone on without this attempt);
    `code` is the failure code or the reason of a release, empty otherwise.
    """

    job_id: str
    attempt: int
    outcome: str
    code: str
    seconds: float


@dataclass(frozen=True)
class LeaseLost:
    """The right to run is gone. `by` is "answer" (the record said so) or "silence" (no beat got through)."""

    job_id: str
    attempt: int
    by: str


@dataclass(frozen=True)
class StorageRetried:
    """A write to storage failed; it is tried again, or the spool does so later."""

    key: str
    reason: str


@dataclass(frozen=True)
class StorageAway:
    """Storage takes nothing now: what is rendered waits in the spool, while that has room."""

    reason: str


@dataclass(frozen=True)
class SpoolChanged:
    """What waits in the spool now; `full`: nothing is claimed."""

    videos: int
    bytes: int
    full: bool


@dataclass(frozen=True)
class Uploaded:
    """The storage took an object of this many bytes from the spool."""

    bytes: int


@dataclass(frozen=True)
class SpoolFull:
    """The spool has just become full: nothing is claimed until a video has gone."""

    videos: int
    bytes: int


@dataclass(frozen=True)
class SpoolFolderRefused:
    """The spool's folder did not take a file; it waits in memory instead."""

    reason: str


@dataclass(frozen=True)
class KeyframeLost:
    """A stored picture that the record names could not be read back."""

    job_id: str
    attempt: int
    reason: str


@dataclass(frozen=True)
class CheckpointKept:
    """A clip between two steps is stored and named. `seconds`: for how long the steps stood still for it."""

    job_id: str
    attempt: int
    step: int
    bytes: int
    seconds: float


@dataclass(frozen=True)
class CheckpointFailed:
    """A clip between two steps could not be stored, or an old one deleted; the work goes on."""

    job_id: str
    attempt: int
    reason: str


@dataclass(frozen=True)
class CheckpointIgnored:
    """The clip that the record names, behind `step`, is of no use to this attempt: stage 2 begins anew."""

    job_id: str
    attempt: int
    step: int
    reason: str


@dataclass(frozen=True)
class Resumed:
    """Stage 2 goes on behind `step`, where an earlier attempt had come to."""

    job_id: str
    attempt: int
    step: int


@dataclass(frozen=True)
class PreviewMissed:
    """This attempt shows no more of its unfinished video; the work goes on."""

    job_id: str
    attempt: int
    reason: str


@dataclass(frozen=True)
class StoreUnreachable:
    """A command to the record got no answer; it is tried again where the command matters."""

    command: str
    reason: str


@dataclass(frozen=True)
class BatchSplit:
    """A batch failed as a whole, so each of its jobs now runs alone."""

    size: int
    code: str


@dataclass(frozen=True)
class DeviceFault:
    """The device cannot be trusted any more; the process ends and a fresh one starts."""

    reason: str


@dataclass(frozen=True)
class Hung:
    """Nothing has moved for too long; the process ends at once."""

    silence_s: float


@dataclass(frozen=True)
class ContentWithheld:
    """A checker had something against a job's `what` (prompt, picture, preview).

    `finding` is for operators alone.
    """

    job_id: str
    attempt: int
    what: str
    checker: str
    finding: str


@dataclass(frozen=True)
class Fault:
    """An exception that this worker could name no better cause for. `error` carries the traceback."""

    job_id: str
    attempt: int
    error: Exception


WorkerEvent = (
    WeightsLoaded
    | BatchClaimed
    | AttemptBegan
    | StepFinished
    | DeviceTimeSpent
    | StageFinished
    | AttemptEnded
    | LeaseLost
    | StorageRetried
    | StorageAway
    | SpoolChanged
    | SpoolFull
    | Uploaded
    | SpoolFolderRefused
    | KeyframeLost
    | CheckpointKept
    | CheckpointFailed
    | CheckpointIgnored
    | Resumed
    | PreviewMissed
    | StoreUnreachable
    | BatchSplit
    | MemoryPlanned
    | MemoryRungClimbed
    | MemoryRungHelped
    | MemoryRungLeft
    | DeviceFault
    | Hung
    | ContentWithheld
    | Fault
)

Tell = Callable[[WorkerEvent], None]


def tell_all(*readers: Tell) -> Tell:
    """One `Tell` that passes each fact to every reader, in the given order."""

    def tell(event: WorkerEvent) -> None:
        for reader in readers:
            reader(event)

    return tell
