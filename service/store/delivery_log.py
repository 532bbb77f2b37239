"""What became of webhooks, as their owner may see it, and sending them again. May raise StoreUnavailable."""

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from service.store.errors import UnknownCursor
from service.store.script import AsyncStore, Command, pairs

RESEND_MISSING, RESEND_DISABLED = -1, -2


@dataclass(frozen=True)
class LoggedTry:
    """One try: its number, when it was over (Unix seconds), HTTP status (None: none came), one sentence."""

    number: int
    at: float
    verdict: str
    status: int | None
    reason: str


@dataclass(frozen=True)
class LoggedDelivery:
    """One delivery with its last 20 tries. `id` is the webhook-id; `endpoint_id` None: to the job's own URL.

    `host` is scheme, host and port. `state`: waiting, delivered, gone, dead or dropped. `next_try_at` is when
    a waiting one is due, or, during a try, when that try counts as lost.
    """

    id: str
    event_id: str
    type: str
    about: str
    endpoint_id: str | None
    host: str
    state: str
    tries: int
    filed_at: float
    next_try_at: float | None
    log: tuple[LoggedTry, ...]


class Of(StrEnum):
    """Whose deliveries are listed."""

    JOB = "job"
    ENDPOINT = "endpoint"


def resend(tenant: str, delivery_id: str) -> Command[LoggedDelivery | None]:
    """Make a delivery due at once if it has ended; None if the tenant has none of this id (any more)."""
    return Command("resend", (tenant, delivery_id), lambda reply: logged(*reply) if reply else None)


@dataclass(frozen=True)
class DeliveryLog:
    """Every method takes the owner first: deliveries of another owner do not exist."""

    store: AsyncStore

    async def page(
        self, tenant: str, of: Of, owner_id: str, after: str | None, limit: int
    ) -> tuple[tuple[LoggedDelivery, ...], bool] | None:
        """Up to `limit`, the newest first, behind the delivery `after`, and whether more follow; None if the
        tenant has no such job or endpoint. Raises UnknownCursor."""

        def parse(reply: Any) -> tuple[tuple[LoggedDelivery, ...], bool] | None:
            if reply[0] == "missing":
                return None
            if reply[0] == "unknown":
                raise UnknownCursor(after or "")
            return tuple(logged(*each) for each in reply[2]), reply[1] == 1

        return await self.store.run(Command("deliveries", (tenant, of, owner_id, after or "", limit), parse))

    async def resend(self, tenant: str, delivery_id: str) -> LoggedDelivery | None:
        """As the function of this name says."""
        return await self.store.run(resend(tenant, delivery_id))

    async def resend_range(
        self, tenant: str, endpoint_id: str, since: float, until: float, only_failed: bool
    ) -> int:
        """How many ended deliveries of the endpoint, filed from `since` to `until`, are due again; else
        RESEND_MISSING or RESEND_DISABLED."""
        return await self.store.run(
            Command("resend_range", (tenant, endpoint_id, since, until, int(only_failed)), int)
        )


def logged(flat: list[str], next_try: str) -> LoggedDelivery:
    """A delivery as the scripts answer it."""
    fields = pairs(flat)
    return LoggedDelivery(
        id=fields.get("delivery") or fields["id"],
        event_id=fields["id"],
        type=fields["type"],
        about=fields["job_id"],
        endpoint_id=fields.get("endpoint_id") or None,
        host=fields["endpoint"],
        state=fields["state"],
        tries=int(fields["tries"]),
        filed_at=float(fields.get("filed_at") or fields["created_at"]),
        next_try_at=float(next_try) if next_try else None,
        log=tuple(_try(each) for each in json.loads(fields.get("log", "[]"))),
    )


def _try(facts: dict[str, Any]) -> LoggedTry:
    return LoggedTry(facts["try"], facts["at"], facts["verdict"], facts.get("status"), facts["reason"])
