"""What an owner does with webhook endpoints and deliveries."""

import asyncio
import base64
import secrets
from dataclasses import dataclass

import httpx

from service.access import reaching_record
from service.contracts.ids import is_id
from service.contracts.webhook_endpoint import Endpoint
from service.fields.endpoint import ChangeEndpoint, CreateEndpoint
from service.refusals import (
    EndpointDisabled,
    FieldFault,
    InvalidFields,
    TooManyEndpoints,
    UnknownDelivery,
    UnknownEndpoint,
    shown,
)
from service.ssrf import AddressRefused, Guard, NameUnresolved
from service.store.delivery_log import (
    RESEND_DISABLED,
    RESEND_MISSING,
    DeliveryLog,
    LoggedDelivery,
    Of,
)
from service.store.endpoints import EndpointStore
from service.store.errors import UnknownCursor

RESOLVE_S = 2.0
SECRET_BYTES = 32
Deliveries = tuple[tuple[LoggedDelivery, ...], bool]


def new_secret() -> str:
    """A secret as Standard Webhooks writes it: `whsec_` and base64, here of 32 random bytes."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


@dataclass(frozen=True)
class WebhookDesk:
    """Every method takes the owner first, and may raise RecordUnavailable; another owner's endpoint is
    UnknownEndpoint, in the words of one that never was. An owner has `most` endpoints."""

    endpoints: EndpointStore
    deliveries: DeliveryLog
    guard: Guard
    most: int

    async def create(self, tenant: str, asked: CreateEndpoint) -> tuple[Endpoint, str]:
        """The endpoint and its secret, which is shown this once. Raises InvalidFields or TooManyEndpoints."""
        url, secret = asked.url or "", new_secret()
        await self._judge(url)
        events, description = asked.events or (), asked.description or ""
        endpoint_id = f"we_{secrets.token_hex(12)}"
        async with reaching_record():
            made = await self.endpoints.add(tenant, endpoint_id, url, events, description, secret, self.most)
        if made is None:
            raise TooManyEndpoints(f"an owner may have {self.most} webhook endpoints; delete one first")
        return made, secret

    async def listed(self, tenant: str) -> tuple[Endpoint, ...]:
        async with reaching_record():
            return await self.endpoints.listed(tenant)

    async def show(self, tenant: str, endpoint_id: str) -> Endpoint:
        async with reaching_record():
            return _known(endpoint_id, await self.endpoints.get(tenant, _checked(endpoint_id)))

    async def change(self, tenant: str, endpoint_id: str, asked: ChangeEndpoint) -> Endpoint:
        """Raises InvalidFields where the new URL leads to where no webhook may go."""
        if asked.url is not None:
            await self.show(tenant, endpoint_id)  # a stranger is told nothing of what a name leads to
            await self._judge(asked.url)
        changes = {
            "url": asked.url,
            "events": None if asked.events is None else ",".join(asked.events),
            "description": asked.description,
            "enabled": None if asked.enabled is None else str(int(asked.enabled)),
        }
        told = {name: value for name, value in changes.items() if value is not None}
        async with reaching_record():
            return _known(endpoint_id, await self.endpoints.change(tenant, _checked(endpoint_id), told))

    async def delete(self, tenant: str, endpoint_id: str) -> None:
        async with reaching_record():
            found = await self.endpoints.delete(tenant, _checked(endpoint_id))
        if not found:
            raise _unknown(endpoint_id)

    async def rotate(self, tenant: str, endpoint_id: str, overlap_s: float) -> tuple[Endpoint, str]:
        """The endpoint and its new secret; the one before it signs too for `overlap_s` seconds."""
        secret = new_secret()
        async with reaching_record():
            found = await self.endpoints.rotate(tenant, _checked(endpoint_id), secret, overlap_s)
        return _known(endpoint_id, found), secret

    async def ping(self, tenant: str, endpoint_id: str) -> LoggedDelivery:
        """A test event on its way to this endpoint alone, also where it is disabled."""
        async with reaching_record():
            found = await self.endpoints.ping(tenant, _checked(endpoint_id), secrets.token_hex(10))
        if found is None:
            raise _unknown(endpoint_id)
        return found

    async def first_try(self, tenant: str, endpoint_id: str, sent: LoggedDelivery) -> "FirstTry":
        """How this delivery of the endpoint's stands now."""
        page, _ = await self.sent_to(tenant, endpoint_id, None, 100)
        return FirstTry(next((each for each in page if each.id == sent.id), sent))

    async def sent_to(self, tenant: str, endpoint_id: str, after: str | None, limit: int) -> Deliveries:
        """The endpoint's deliveries, the newest first, and whether more follow. Raises InvalidFields."""
        found = await self._page(tenant, Of.ENDPOINT, _checked(endpoint_id), after, limit)
        if found is None:
            raise _unknown(endpoint_id)
        return found

    async def sent_of(self, tenant: str, job_id: str, after: str | None, limit: int) -> Deliveries:
        """The deliveries of a job that the owner has; none if it is gone meanwhile. Raises InvalidFields."""
        return await self._page(tenant, Of.JOB, job_id, after, limit) or ((), False)

    async def resend(self, tenant: str, delivery_id: str) -> LoggedDelivery:
        """The delivery, due at once if it had ended. Raises UnknownDelivery."""
        async with reaching_record():
            found = await self.deliveries.resend(tenant, delivery_id) if is_id(delivery_id) else None
        if found is None:
            raise UnknownDelivery(f"no delivery {shown(delivery_id)}", param="delivery_id")
        return found

    async def resend_range(
        self, tenant: str, endpoint_id: str, since: float, until: float, only_failed: bool
    ) -> int:
        """How many deliveries are due again. Raises EndpointDisabled: nothing would be sent."""
        async with reaching_record():
            count = await self.deliveries.resend_range(
                tenant, _checked(endpoint_id), since, until, only_failed
            )
        if count == RESEND_MISSING:
            raise _unknown(endpoint_id)
        if count == RESEND_DISABLED:
            raise EndpointDisabled(f"the endpoint {endpoint_id} is disabled; enable it first")
        return count

    async def _page(
        self, tenant: str, of: Of, owner_id: str, after: str | None, limit: int
    ) -> Deliveries | None:
        try:
            async with reaching_record():
                return await self.deliveries.page(tenant, of, owner_id, after, limit)
        except UnknownCursor:
            raise InvalidFields([FieldFault.of("after", after, "the id of a listed delivery")]) from None

    async def _judge(self, url: str) -> None:
        """A name without an address passes: its servers may be away, and every try judges it again."""
        try:
            async with asyncio.timeout(RESOLVE_S):
                await self.guard.addresses(httpx.URL(url))
        except AddressRefused:
            # Not by which address: nobody is to learn here what a name of our network resolves to.
            bound = "a URL that leads to public addresses alone"
            raise InvalidFields([FieldFault.of("url", url, bound)]) from None
        except (NameUnresolved, TimeoutError):
            return


@dataclass(frozen=True)
class FirstTry:
    """A delivery that somebody waits for; it is at rest once the receiver has been tried."""

    delivery: LoggedDelivery

    @property
    def at_rest(self) -> bool:
        return bool(self.delivery.log)


def _checked(endpoint_id: str) -> str:
    if not is_id(endpoint_id):
        raise _unknown(endpoint_id)
    return endpoint_id


def _known(endpoint_id: str, found: Endpoint | None) -> Endpoint:
    if found is None:
        raise _unknown(endpoint_id)
    return found


def _unknown(endpoint_id: str) -> UnknownEndpoint:
    return UnknownEndpoint(f"no webhook endpoint {shown(endpoint_id)}", param="endpoint_id")
