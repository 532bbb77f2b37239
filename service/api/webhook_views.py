"""Webhook endpoints and deliveries as clients see them. Times are Unix seconds."""

from typing import Literal

from pydantic import BaseModel, Field

from service.contracts.webhook_endpoint import Endpoint
from service.store.delivery_log import LoggedDelivery


class EndpointView(BaseModel):
    """A URL that hears of all of an owner's jobs."""

    id: str
    object: Literal["webhook_endpoint"] = "webhook_endpoint"
    url: str
    events: list[str] = Field(description="Empty: all.")
    description: str
    enabled: bool
    created_at: float
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


class EndpointListView(BaseModel):
    """All of an owner's endpoints, the oldest first."""

    object: Literal["list"] = "list"
    data: list[EndpointView]


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


class DeliveryListView(BaseModel):
    """The newest first."""

    object: Literal["list"] = "list"
    data: list[DeliveryView]
    has_more: bool


class RedeliveredView(BaseModel):
    """How many deliveries are due again."""

    redelivered: int


def endpoint_view(endpoint: Endpoint) -> EndpointView:
    return EndpointView.model_validate(vars(endpoint) | {"events": list(endpoint.events)})


def endpoint_with_secret(endpoint: Endpoint, secret: str) -> EndpointWithSecretView:
    return EndpointWithSecretView.model_validate(
        vars(endpoint) | {"events": list(endpoint.events), "secret": secret}
    )


def delivery_view(delivery: LoggedDelivery) -> DeliveryView:
    facts = vars(delivery) | {"created_at": delivery.filed_at, "log": [vars(each) for each in delivery.log]}
    return DeliveryView.model_validate(facts)
