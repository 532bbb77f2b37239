"""Webhook deliveries as records: relayed from the outbox, taken for a try, settled by its outcome.

The rules are in lua/{letters,relay,take_delivery,settle_delivery,dead,redeliver}.lua. Every command may be
sent again after StoreUnavailable; a take whose reply was lost costs the delivery one try and one lease of
waiting.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Any

from service.contracts.event import Event
from service.store.script import Command, Store

PATIENCE_S = 5 * 24 * 3600.0
"""An endpoint may fail for this long, unless the notifier is told otherwise."""


class Verdict(StrEnum):
    """What one try means for its delivery. All but RETRY end it."""

    DELIVERED = "delivered"  # 2xx
    GONE = "gone"  # 410: the receiver wants no more of it
    DEAD = "dead"  # the last try failed, or no try can ever succeed
    DROPPED = "dropped"  # its endpoint was disabled or deleted: nothing was sent
    RETRY = "retry"


@dataclass(frozen=True)
class Delivery:
    """One event on its way to one URL. `tries` counts this try too (from 1) and fences its settlement.

    `forgiven` of them no longer count for the back-off: they are from before it was sent again. `id` is the
    webhook-id: the event's own, followed by the endpoint's where an owner's endpoint is told (`endpoint_id`;
    its own `secrets` sign then, newest first). `closed` says why it must not be sent at all.
    `traceparent`: the request that made its job; empty if that was not traced.
    """

    event: Event
    url: str
    endpoint: str  # scheme, host and port in lower case
    tries: int
    forgiven: int = 0
    delivery_id: str = ""
    endpoint_id: str = ""
    secrets: tuple[str, ...] = field(default=(), repr=False)
    closed: str = ""
    traceparent: str = ""

    @property
    def id(self) -> str:
        return self.delivery_id or self.event.id


class Settled(IntEnum):
    """What writing an outcome did; STALE is false."""

    STALE = 0  # a later try has begun: nothing was written
    WRITTEN = 1
    ENDPOINT_DISABLED = 2  # written, and the endpoint gets nothing more


@dataclass(frozen=True)
class Settlement:
    """The outcome of a try: `status` is the HTTP status (None: no answer), `reason` one sentence.

    `delay_s` counts for RETRY alone: seconds until the delivery is due again.
    """

    verdict: Verdict
    reason: str
    status: int | None = None
    delay_s: float = 0.0


@dataclass(frozen=True)
class Relayed:
    """What a relay moved, and how things stand after it.

    `outbox`: events not yet relayed; `due`: deliveries whose time has come and that nobody holds;
    `waiting`: all that have not ended; `dead`: dead letters that are still kept. `broken`: events that left
    the outbox untold, as somebody has spoiled them: id and what was wrong.
    """

    moved: int
    outbox: int
    due: int
    waiting: int
    dead: int
    broken: tuple[tuple[str, str], ...] = ()


def relay(limit: int) -> Command[Relayed]:
    """Turn up to `limit` events of the outbox into deliveries that are due at once."""

    def parse(reply: Any) -> Relayed:
        moved, outbox, due, waiting, dead, broken = reply
        return Relayed(
            moved, outbox, due, waiting, dead, tuple((event_id, flaw) for event_id, flaw in broken)
        )

    return Command("relay", (limit,), parse)


def take(
    limit: int, lease_s: float, per_endpoint: int, in_flight: Mapping[str, int]
) -> Command[tuple[Delivery, ...]]:
    """Take up to `limit` due deliveries for `lease_s` seconds, each for one try.

    `in_flight` says how many tries to each endpoint the caller has under way; none gets more than
    `per_endpoint`.
    """
    counts = (part for endpoint, count in in_flight.items() for part in (endpoint, count))
    return Command(
        "take_delivery",
        (limit, lease_s, per_endpoint, *counts),
        lambda reply: tuple(_delivery(fields) for fields in reply),
    )


def settle(
    delivery_id: str, tries: int, settlement: Settlement, keep_s: float, patience_s: float = PATIENCE_S
) -> Command[Settled]:
    """Write what came of try `tries`. An ended record stays `keep_s`; an owner's endpoint that has failed for
    `patience_s` without one success is disabled."""
    status = "" if settlement.status is None else settlement.status
    return Command(
        "settle_delivery",
        (
            delivery_id,
            tries,
            settlement.verdict,
            settlement.delay_s,
            status,
            settlement.reason,
            keep_s,
            patience_s,
        ),
        Settled,
    )


@dataclass(frozen=True)
class DeadLetter:
    """A delivery that was given up: which event to which host, after how many tries, why, and when.

    `event_id` is the delivery's id, by which it can be sent again: the event's, and the endpoint's behind it.

    `endpoint` is scheme, host and port: the rest of a URL may be a secret. `given_up_at` is in Unix seconds.
    """

    event_id: str
    type: str
    job_id: str
    endpoint: str
    tries: int
    status: int | None
    reason: str
    given_up_at: float


def dead(limit: int) -> Command[tuple[DeadLetter, ...]]:
    """Up to `limit` dead letters that are still kept, those given up first in front."""

    def letter(facts: list[str]) -> DeadLetter:
        event_id, kind, job_id, endpoint, tries, status, reason, at = facts
        last = int(status) if status else None
        return DeadLetter(event_id, kind, job_id, endpoint, int(tries), last, reason, float(at))

    return Command("dead", (limit,), lambda reply: tuple(letter(facts) for facts in reply))


def redeliver(event_id: str) -> Command[bool]:
    """Make a dead letter due at once, with all its tries before it; False if there is no such dead letter."""
    return Command("redeliver", (event_id,), bool)


@dataclass(frozen=True)
class DeliveryStore:
    """The deliveries over a blocking client; each promise stands at the function of the same name above."""

    store: Store

    def relay(self, limit: int = 100) -> Relayed:
        return self.store.run(relay(limit))

    def take(
        self, limit: int, lease_s: float, per_endpoint: int, in_flight: Mapping[str, int]
    ) -> tuple[Delivery, ...]:
        return self.store.run(take(limit, lease_s, per_endpoint, in_flight))

    def dead(self, limit: int = 100) -> tuple[DeadLetter, ...]:
        return self.store.run(dead(limit))

    def redeliver(self, event_id: str) -> bool:
        return self.store.run(redeliver(event_id))

    def settle(
        self,
        delivery_id: str,
        tries: int,
        settlement: Settlement,
        keep_s: float,
        patience_s: float = PATIENCE_S,
    ) -> Settled:
        return self.store.run(settle(delivery_id, tries, settlement, keep_s, patience_s))


def _delivery(flat: list[Any]) -> Delivery:
    fields: dict[str, str] = dict(zip(flat[::2], flat[1::2], strict=True))
    return Delivery(
        Event.from_fields(fields),
        fields["url"],
        fields["endpoint"],
        int(fields["tries"]),
        int(fields.get("forgiven", 0)),
        fields.get("delivery", ""),
        fields.get("endpoint_id", ""),
        tuple(fields.get("secrets", "").split()),
        fields.get("closed", ""),
        fields.get("traceparent", ""),
    )
