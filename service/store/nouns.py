"""What goes into the store's commands and what comes out of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from service.contracts.artifact import Artifact, Checkpoint
from service.contracts.deadline import Deadline
from service.contracts.failure import Failure
from service.contracts.ids import ID_PATTERN, NAME_PATTERN, is_id, is_name
from service.contracts.job import VideoJob
from service.contracts.lifecycle import Stage, State
from service.contracts.model_spec import ModelSpec
from service.contracts.quota import NO_QUOTAS, QuotaReached, Quotas
from service.contracts.remains import Remains
from service.contracts.request import VideoRequest


@dataclass(frozen=True)
class Submission:
    """A job to be accepted. `digest` is the sha256 of what the client sent, before seed and defaults.

    `queue_limit` bounds the jobs that wait in the pool; `retention_s` is how long record and artifacts
    stay after the job has ended (seconds). `warnings` are kept with the job as they were when it came.
    `repeat`: whether a client library sends this again by itself (True: the same digest within a minute is
    answered by the first job), for the first time, or None: nothing is known of that. `traceparent` is the
    span below which the job's story is told. `quotas` hold where the tenant has none of its own.
    """

    job_id: str
    tenant: str
    request: VideoRequest
    pool: str
    compat: str
    digest: str
    queue_limit: int
    retention_s: float
    idempotency_key: str | None = None
    warnings: tuple[str, ...] = ()
    start_by: Deadline | None = None
    finish_by: Deadline | None = None
    repeat: bool | None = None
    traceparent: str = ""
    quotas: Quotas = NO_QUOTAS

    def __post_init__(self) -> None:
        """Names become parts of keys, so a stray colon must not reach one. Raises ValueError."""
        if not is_id(self.job_id):
            raise ValueError(f"job_id={self.job_id!r} must match {ID_PATTERN}")
        for name, value in (("tenant", self.tenant), ("pool", self.pool)):
            if not is_name(value):
                raise ValueError(f"{name}={value!r} must match {NAME_PATTERN}")


class SubmitOutcome(StrEnum):
    """created: this submission made the record (also when sent again). existing: another one with the same
    idempotency key and digest did. conflict: same key or id, other digest. full: the pool's queue is full.
    paused: an operator has closed the intake. over_quota: the tenant has used what it may."""

    CREATED = "created"
    EXISTING = "existing"
    CONFLICT = "conflict"
    FULL = "full"
    PAUSED = "paused"
    OVER_QUOTA = "over_quota"


@dataclass(frozen=True)
class Pause:
    """Why an operator closed a gate, and when (seconds since 1970 by the Redis server's clock)."""

    reason: str
    since: float


@dataclass(frozen=True)
class Submitted:
    """`job_id` is the job that answers for the submission (the earlier one for existing and conflict).

    `pause` says why, where the outcome is paused; `quota`, where it is over_quota. `seen` is the job as
    it was created (None where an earlier answer to the same submission was lost).
    """

    outcome: SubmitOutcome
    job_id: str
    pause: Pause | None = None
    quota: QuotaReached | None = None
    seen: "Seen | None" = field(default=None, compare=False)  # a repeat is the same answer without it


@dataclass(frozen=True)
class Page:
    """One page of a listing, and whether more follows."""

    jobs: tuple[VideoJob, ...]
    has_more: bool


class Order(StrEnum):
    """asc: oldest first."""

    ASC = "asc"
    DESC = "desc"


class CancelOutcome(StrEnum):
    """cancelled: at once. flagged: the running attempt will stop. terminal: it had ended. missing: no job."""

    CANCELLED = "cancelled"
    FLAGGED = "flagged"
    TERMINAL = "terminal"
    MISSING = "missing"


class DeleteOutcome(StrEnum):
    """deleted: hidden from now on, the rest follows. missing: no such job."""

    DELETED = "deleted"
    MISSING = "missing"


class ApproveOutcome(StrEnum):
    """approved: queued for stage 2. again: so it was already, by the same choice.
    not_waiting: the job does not await approval. missing: no such job."""

    APPROVED = "approved"
    AGAIN = "again"
    NOT_WAITING = "not_waiting"
    MISSING = "missing"


@dataclass(frozen=True)
class Claim:
    """An attempt that may run: `attempt` goes with every later write.

    `finish_in_s`: seconds from the claim to the job's finish_by, by the record's clock; None without one.
    """

    job: VideoJob
    attempt: int
    finish_in_s: float | None = None


@dataclass(frozen=True)
class Claimed:
    """What a claim took: `unreadable` are attempts (job id, number) whose job cannot be read."""

    claims: tuple[Claim, ...]
    unreadable: tuple[tuple[str, int], ...] = ()


class Beat(StrEnum):
    """ok: go on. cancel: the client called it off, finish with Cancelled. lost: stop and write nothing."""

    OK = "ok"
    CANCEL = "cancel"
    LOST = "lost"


@dataclass(frozen=True)
class Note:
    """Progress of a running attempt. `step` of `steps` are finished; `progress` is 0 to 99.

    A keyframe, checkpoint or candidate counts from the moment that the record names it: store it first.
    """

    stage: Stage
    step: int
    steps: int
    progress: int
    keyframe: Artifact | None = None
    checkpoint: Checkpoint | None = None
    candidates: tuple[Artifact, ...] = ()


@dataclass(frozen=True)
class Succeeded:
    """The video is stored under `artifact.key`. `usage` is what it cost, by name (seconds, bytes, ...)."""

    artifact: Artifact
    usage: Mapping[str, float | str] = field(default_factory=dict)


@dataclass(frozen=True)
class Failed:
    """The attempt ended without a video, for good."""

    failure: Failure


@dataclass(frozen=True)
class Cancelled:
    """The attempt stopped because the client called it off."""


@dataclass(frozen=True)
class Expired:
    """The attempt stopped because the job's finish_by had come."""

    failure: Failure


Outcome: TypeAlias = Succeeded | Failed | Cancelled | Expired


@dataclass(frozen=True)
class Forecast:
    """`ahead` jobs of the model were queued before; the video should be there in `p50_s` seconds, in `p90_s`
    with nine chances of ten. None: not measured yet, or no worker. `gpu_s`: GPU seconds that it should take.
    """

    ahead: int
    p50_s: float | None = None
    p90_s: float | None = None
    gpu_s: float | None = None


@dataclass(frozen=True)
class Seen:
    """A job as it stands and, while it waits, what lies before it."""

    job: VideoJob
    forecast: Forecast | None = None


@dataclass(frozen=True)
class Gone:
    """A job whose retention is over. `remains`: for its owner alone; those of older versions left nothing."""

    remains: Remains | None = None


@dataclass(frozen=True)
class Finished:
    """The answer to a finish, the same however often it is asked.

    `accepted`: the record holds this attempt's outcome. Otherwise `winner_attempt` names the attempt that
    ended the job or has taken its place, 0 if nothing is decided (the job waits again); `state` is the job's
    state now, None if there is no such record. An attempt may delete its own objects only if not accepted
    and (another winner is named or `state` is terminal), and never one that the record names.
    `freed`: a job of the tenant waits that its running cap would let run now (push a ticket).
    """

    accepted: bool
    winner_attempt: int
    state: State | None
    freed: bool = False


@dataclass(frozen=True)
class Reaped:
    """What one reap did. `ran` is False when another process reaped a moment ago, and nothing was done.

    `extended`: after a gap or a clock jump all leases were extended instead. `ids`: jobs whose lease had
    run out. `expired`: jobs whose start_by, finish_by or time for approval had passed.
    `wanted`: tickets each pool should have. `left`: job records of newer versions, which nobody here touches.
    `aside`: what is wrong with jobs that are set aside, by job id (500 of them at most); told even when it
    did not run.
    """

    ran: bool
    extended: bool
    ids: tuple[str, ...]
    expired: tuple[str, ...]
    wanted: Mapping[str, int]
    left: int = 0
    aside: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Doomed:
    """An ended job whose record and objects are to go."""

    id: str
    tenant: str


@dataclass(frozen=True)
class CatalogueEntry:
    """A model that is or was served, and how many live workers hold it now.

    `render_p50_s` is the middle of the seconds that a worker had its last `renders` videos (100 at most),
    from claim to end; None before there was one. They differ in what was asked.
    """

    spec: ModelSpec
    live_workers: int
    render_p50_s: float | None = None
    renders: int = 0
