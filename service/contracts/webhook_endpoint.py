"""A URL of an owner that hears of all of its jobs."""

from dataclasses import dataclass

from service.contracts.lifecycle import TABLE, State

DISABLED_TYPE = "webhook_endpoint.disabled"
"""Tells an owner's other endpoints that one of them gets nothing any more."""

JOB_EVENT_TYPES: tuple[str, ...] = tuple(
    dict.fromkeys(row.webhook_type for state, row in TABLE.items() if state is not State.QUEUED)
)
"""What receivers hear of a job."""

EVENT_TYPES: tuple[str, ...] = (*JOB_EVENT_TYPES, DISABLED_TYPE)
"""What an endpoint can ask for. The ping of a test comes unasked."""


@dataclass(frozen=True)
class Endpoint:
    """Times are seconds since 1970 by the Redis server's clock; an endpoint's secrets never leave the record.

    `events` empty: all types. `disabled_reason`: "owner", "gone" (it answered 410) or "failing" (nothing but
    failures since `failing_since`, for as long as the notifier bears). `old_secret_until`: until then the
    secret before the last rotation signs too.
    """

    id: str
    url: str
    events: tuple[str, ...]
    description: str
    enabled: bool
    created_at: float
    failing_since: float | None
    disabled_at: float | None
    disabled_reason: str | None
    old_secret_until: float | None
