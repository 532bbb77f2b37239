"""The durable record of one video, read back from its Redis hash."""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field

from service.contracts.artifact import Artifact, Checkpoint
from service.contracts.failure import Failure
from service.contracts.lifecycle import TERMINAL, Stage, State
from service.contracts.request import VideoRequest

_JSON_FIELDS = frozenset(
    {
        "request",
        "warnings",
        "keyframe",
        "candidates",
        "checkpoint",
        "artifact",
        "failure",
        "usage",
        "spent",
        "tries",
    }
)


#: How `chosen` begins when the client sent a picture instead of taking a candidate; its sha256 follows.
OWN_PICTURE = "own:"

#: Unix seconds that a calendar has a date for (before the year 10000): any other of a spoiled record would be
#: found only where somebody is shown it, and take a whole list with it.
Time = Annotated[float, Field(ge=0, lt=253402300800, allow_inf_nan=False)]


class Try(BaseModel):
    """One attempt as the record remembers it; times as in VideoJob.

    `outcome` is the job's state behind it (queued: it waits again), `reason` says why; None while it runs.
    """

    model_config = ConfigDict(frozen=True)

    number: int
    worker: str
    started_at: float
    ended_at: float | None = None
    outcome: State | None = None
    reason: str | None = None


class VideoJob(BaseModel):
    """One job as its record stands. Only the store's scripts change the record.

    Times are seconds since 1970 by the Redis server's clock. `attempt` counts tries (0: never claimed) and
    is the fencing token of every write; `lost` counts workers that died on the job. `progress` is 0 to 99
    until the job succeeded, then 100. `keyframe`, `checkpoint` and `artifact` may come from an earlier
    attempt than the current one: their keys are the truth, and no attempt deletes a key named here.
    `candidates` are the keyframes that a gated job shows, `chosen` is what its owner took: the number of one,
    or OWN_PICTURE and the sha256 of another picture. `spent` is the usage of the attempt that painted them.
    `winner_attempt` is the attempt whose finish ended the job (0: none did). `expires_at` is when record and
    artifacts may go, known once the job is terminal; `approve_by` is set while it awaits approval;
    the job expires unless its first attempt has begun by `start_by` and its video is stored by `finish_by`.
    `warnings` are what intake had to say about the request, `traceparent` is its span (W3C Trace Context).
    `seq` numbers the job's events; `deleted` marks a
    tombstone, which no client sees. `tries` are the last 20 attempts.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    tenant: str
    state: State
    request: VideoRequest
    compat: str
    pool: str
    attempt: int = 0
    lost: int = 0
    cancel_requested: bool = False
    deleted: bool = False
    worker: str | None = None
    stage: Stage | None = None
    step: int = 0
    steps: int = 0
    progress: int = 0
    created_at: Time
    started_at: Time | None = None
    completed_at: Time | None = None
    expires_at: Time | None = None
    approve_by: Time | None = None
    start_by: Time | None = None
    finish_by: Time | None = None
    keyframe: Artifact | None = None
    keyframe_attempt: int | None = None
    candidates: tuple[Artifact, ...] = ()
    chosen: str | None = None
    spent: dict[str, float] = Field(default_factory=dict)  # a default would be copied, deep, for each job
    checkpoint: Checkpoint | None = None
    artifact: Artifact | None = None
    winner_attempt: int = 0
    failure: Failure | None = None
    usage: dict[str, float | str] = Field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    seq: int = 0
    tries: tuple[Try, ...] = ()
    traceparent: str = ""

    @classmethod
    def from_record(cls, record: Mapping[str, str]) -> Self:
        """Read a Redis hash. Empty strings mean "not set" (a hash field has no null)."""
        fields: dict[str, Any] = {
            name: json.loads(text) if name in _JSON_FIELDS else text for name, text in record.items() if text
        }
        return cls.model_validate(fields)

    @property
    def terminal(self) -> bool:
        """Whether the outcome is final."""
        return self.state in TERMINAL

    @property
    def at_rest(self) -> bool:
        """Whether nothing more comes by itself: it has ended, or its owner must choose a keyframe."""
        return self.terminal or self.state is State.AWAITING_APPROVAL

    def names(self, key: str) -> bool:
        """Whether the record names the stored object `key`, which then must not be deleted."""
        stored = (self.checkpoint, self.request.extends, *self.candidates)
        with_others = (self.keyframe, self.request.input_picture, self.artifact)
        return any(part is not None and part.key == key for part in stored) or any(
            part is not None and part.names(key) for part in with_others
        )
