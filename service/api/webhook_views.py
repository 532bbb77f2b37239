"""Webhook endpoints and deliveries as clients see them. Times are Unix seconds."""

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, Field

from service.contracts.webhook_endpoint import EVENT_TYPES, Endpoint
from service.refusals import FieldFault, InvalidFields
from service.store.delivery_log import LoggedDelivery


class EndpointView(BaseModel):
    """A URL that hears of all of an owner's jobs."""

    id: str
    object: Literal["webhook_endpoint"] = "webhook_endpoint"
    url: str
    events: list[str] = Field(description="Empty: all.")
    event_types: list[str] = Field(description="The same for OpenAI's clients, where all are written out.")
    description: str
    name: str = Field(description="The description, for OpenAI's clients.")
    enabled: bool
    created_at: int
    failing_since: float | None = Field(description="The first failure since the last success.")
    disabled_at: float | None
    disabled_reason: Literal["owner", "gone", "failing"] | None = Field(
        description="`gone`: it answered 410. `failing`: only failures for days."
    )
    old_secret_until: float | None = Field(
        description="Until then the secret before the last rotation signs too."
    )


class EndpointWithSecretView(EndpointView):
    """With the secret that signs, which is shown in this answer and never again."""

    secret: str
    signing_secret: str = Field(description="The secret, for OpenAI's clients.")


class EndpointListView(BaseModel):
    """An owner's endpoints, the oldest first; ask for the next page with after=<last_id>."""

    object: Literal["list"] = "list"
    data: list[EndpointView]
    has_more: bool
    first_id: str | None
    last_id: str | None


class EventTypeListView(BaseModel):
    """What an endpoint can ask for."""

    object: Literal["list"] = "list"
    data: list[str]


class DeletedEndpointView(BaseModel):
    """What DELETE answers."""

    id: str
    object: Literal["webhook_endpoint.deleted"] = "webhook_endpoint.deleted"
    deleted: bool = True


class TryView(BaseModel):
    """One try: `status` is the receiver's HTTP status, null where no answer came."""

    number: int
    at: float
    verdict: str
    status: int | None
    reason: str


class DeliveryView(BaseModel):
    """One event on its way to one receiver. `id` is the `webhook-id` header of every try."""

    id: str
    object: Literal["webhook_delivery"] = "webhook_delivery"
    event_id: str
    type: str
    about: str = Field(description="The video or endpoint that the event tells of.")
    endpoint_id: str | None = Field(description="Null: to the `webhook_url` of the request.")
    host: str
    state: Literal["waiting", "delivered", "gone", "dead", "dropped"]
    tries: int = Field(description="Each time that it is sent again counts as one more.")
    created_at: float
    next_try_at: float | None
    log: list[TryView] = Field(description="The last 20 tries.")


class PingView(DeliveryView):
    """The ping's delivery, with what came of its first try where that was waited for, in OpenAI's words."""

    event_type: str = Field(description="The delivery's `type`.")
    webhook_endpoint_id: str
    status_code: int | None = Field(description="What the receiver answered; null: nothing, or nothing yet.")
    success: bool = Field(description="Whether it has answered, whatever it was.")


class DeliveryListView(BaseModel):
    """The newest first."""

    object: Literal["list"] = "list"
    data: list[DeliveryView]
    has_more: bool


class RedeliveredView(BaseModel):
    """How many deliveries are due again."""

    redelivered: int


def endpoint_view(endpoint: Endpoint) -> EndpointView:
    return EndpointView.model_validate(_facts(endpoint))


def endpoint_with_secret(endpoint: Endpoint, secret: str) -> EndpointWithSecretView:
    return EndpointWithSecretView.model_validate(
        _facts(endpoint) | {"secret": secret, "signing_secret": secret}
    )


def endpoint_list(endpoints: Sequence[Endpoint], after: str | None, limit: int) -> EndpointListView:
    """`limit` of them behind the id `after`. Raises InvalidFields for an id that none of them has."""
    ids = [endpoint.id for endpoint in endpoints]
    if after is not None and after not in ids:
        raise InvalidFields([FieldFault.of("after", after, "the id of one of your webhook endpoints")])
    rest = endpoints[0 if after is None else ids.index(after) + 1 :]
    page = [endpoint_view(each) for each in rest[:limit]]
    return EndpointListView(
        data=page,
        has_more=len(rest) > limit,
        first_id=page[0].id if page else None,
        last_id=page[-1].id if page else None,
    )


def _facts(endpoint: Endpoint) -> dict[str, Any]:
    return vars(endpoint) | {
        "events": list(endpoint.events),
        "event_types": list(endpoint.events or EVENT_TYPES),
        "name": endpoint.description,
        "created_at": int(endpoint.created_at),
    }


def delivery_view(delivery: LoggedDelivery) -> DeliveryView:
    return DeliveryView.model_validate(_told(delivery))


def ping_view(delivery: LoggedDelivery, endpoint_id: str) -> PingView:
    status = next((each.status for each in delivery.log), None)
    tested = {"event_type": delivery.type, "webhook_endpoint_id": endpoint_id, "status_code": status}
    return PingView.model_validate(_told(delivery) | tested | {"success": status is not None})


def _told(delivery: LoggedDelivery) -> dict[str, Any]:
    return vars(delivery) | {"created_at": delivery.filed_at, "log": [vars(each) for each in delivery.log]}
