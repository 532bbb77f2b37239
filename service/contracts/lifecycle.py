"""The life of a video job: its states, what each is called in public, and which may follow which.

Both processes import these tables, and the Redis scripts are given them when they are loaded, so there
is one place where a state is defined and no second opinion about what may follow it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType


class State(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"
    RUNNING = "running"
    AWAITING_APPROVAL = "awaiting_approval"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class Stage(StrEnum):
    """The parts of one attempt, in the order in which they run.

    A model without keyframes has one stage, text_to_video, in place of the first two.
    """

    TEXT_TO_IMAGE = "text_to_image"
    IMAGE_TO_VIDEO = "image_to_video"
    TEXT_TO_VIDEO = "text_to_video"
    ENCODE = "encode"
    UPLOAD = "upload"


CLAIMED = "claimed"
"""Where a running job stands that has told no stage yet."""

CANCELLED_AT: tuple[str, ...] = (State.QUEUED, CLAIMED, *Stage, State.AWAITING_APPROVAL)
"""Everywhere that a job can stand when its cancel takes effect; in metrics the `stage` of a cancelled job."""


@dataclass(frozen=True)
class StateRow:
    """One row of the state table.

    `openai_status` is the word of OpenAI's video object, `webhook_type` the type of the event that tells of
    entering the state, `error_code` the code shown when the state itself is the reason (None where there is
    no error, or where the job's own Failure names it).
    """

    meaning: str
    openai_status: str
    webhook_type: str
    error_code: str | None = None


TABLE: Mapping[State, StateRow] = MappingProxyType(
    {
        State.QUEUED: StateRow("accepted, waiting", "queued", "video.queued"),
        State.RUNNING: StateRow("an attempt holds the lease", "in_progress", "video.started"),
        State.AWAITING_APPROVAL: StateRow(
            "keyframes ready, no lease, expires", "in_progress", "video.keyframe_ready"
        ),
        State.SUCCEEDED: StateRow("artifact named by the record", "completed", "video.completed"),
        State.FAILED: StateRow("with a Failure", "failed", "video.failed"),
        State.CANCELLED: StateRow(
            "by the client or a tombstoning DELETE", "failed", "video.cancelled", "cancelled"
        ),
        State.EXPIRED: StateRow(
            "start_by, finish_by or the time for approval passed", "failed", "video.failed", "expired"
        ),
    }
)

PROGRESS_TYPE = "video.progress"
"""The one event type that does not announce a state: a finished step of a running attempt."""

TRANSITIONS: Mapping[State, frozenset[State]] = MappingProxyType(
    {
        State.QUEUED: frozenset({State.RUNNING, State.CANCELLED, State.EXPIRED}),
        # Back to queued: the worker died or handed the job back, and attempts remain.
        State.RUNNING: frozenset(
            {
                State.QUEUED,
                State.AWAITING_APPROVAL,
                State.SUCCEEDED,
                State.FAILED,
                State.CANCELLED,
                State.EXPIRED,
            }
        ),
        State.AWAITING_APPROVAL: frozenset({State.QUEUED, State.CANCELLED, State.EXPIRED}),
        State.SUCCEEDED: frozenset(),
        State.FAILED: frozenset(),
        State.CANCELLED: frozenset(),
        State.EXPIRED: frozenset(),
    }
)

TERMINAL: frozenset[State] = frozenset(state for state, following in TRANSITIONS.items() if not following)
"""States that nothing follows: the job's outcome is final."""
