"""Webhook endpoints in the record, over an asyncio client. May raise StoreUnavailable.

The rules are in lua/*_endpoint.lua. Every command may be sent again after StoreUnavailable.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from service.contracts.webhook_endpoint import Endpoint
from service.store.delivery_log import LoggedDelivery, logged
from service.store.script import AsyncStore, Command, pairs


@dataclass(frozen=True)
class EndpointStore:
    """Every method takes the owner first: an endpoint of another owner does not exist."""

    store: AsyncStore

    async def add(
        self,
        tenant: str,
        endpoint_id: str,
        url: str,
        events: Sequence[str],
        description: str,
        secret: str,
        limit: int,
    ) -> Endpoint | None:
        """None where the tenant has `limit` endpoints. A repeat by the same id changes nothing."""
        wanted = ",".join(events)
        return await self.store.run(
            Command(
                "add_endpoint",
                (endpoint_id, tenant, url, wanted, description, secret, limit),
                _endpoint_or_none,
            )
        )

    async def listed(self, tenant: str) -> tuple[Endpoint, ...]:
        """All of them, the oldest first."""
        return await self.store.run(Command("endpoints", (tenant, ""), _endpoints))

    async def get(self, tenant: str, endpoint_id: str) -> Endpoint | None:
        found = await self.store.run(Command("endpoints", (tenant, endpoint_id), _endpoints))
        return found[0] if found else None

    async def change(self, tenant: str, endpoint_id: str, changes: Mapping[str, str]) -> Endpoint | None:
        """`changes`: url, events (by commas), description, enabled ("0" or "1", which forgets failures)."""
        flat = [part for pair in changes.items() for part in pair]
        return await self.store.run(
            Command("change_endpoint", (tenant, endpoint_id, *flat), _endpoint_or_none)
        )

    async def rotate(self, tenant: str, endpoint_id: str, secret: str, overlap_s: float) -> Endpoint | None:
        """From now on `secret` signs, and for `overlap_s` seconds the one before it too."""
        return await self.store.run(
            Command("rotate_endpoint", (tenant, endpoint_id, secret, overlap_s), _endpoint_or_none)
        )

    async def delete(self, tenant: str, endpoint_id: str) -> bool:
        return await self.store.run(Command("delete_endpoint", (tenant, endpoint_id), bool))

    async def ping(self, tenant: str, endpoint_id: str, name: str) -> LoggedDelivery | None:
        """File a test event for this endpoint alone, due at once; `name` makes a repeat the same one."""
        return await self.store.run(
            Command(
                "ping_endpoint",
                (tenant, endpoint_id, name),
                lambda reply: logged(*reply) if reply else None,
            )
        )


def _endpoint_or_none(reply: list[str]) -> Endpoint | None:
    return _endpoint(reply) if reply else None


def _endpoints(reply: Any) -> tuple[Endpoint, ...]:
    return tuple(_endpoint(fields) for fields in reply)


def _endpoint(flat: list[str]) -> Endpoint:
    fields = pairs(flat)
    return Endpoint(
        id=fields["id"],
        url=fields["url"],
        events=tuple(fields["events"].split(",")) if fields["events"] else (),
        description=fields["description"],
        enabled=fields["enabled"] == "1",
        created_at=float(fields["created_at"]),
        failing_since=_time(fields["failing_since"]),
        disabled_at=_time(fields["disabled_at"]),
        disabled_reason=fields["disabled_reason"] or None,
        old_secret_until=_time(fields["old_until"]),
    )


def _time(text: str) -> float | None:
    return float(text) if text else None
