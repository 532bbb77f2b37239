"""Webhook endpoints, and what became of deliveries."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from service.api.asking import Prefer
from service.api.body import has_body, read_json
from service.api.parts import Parts, Tenant
from service.api.presenting import asked_wait
from service.api.problems import documented
from service.api.webhook_views import (
    DeletedEndpointView,
    DeliveryListView,
    DeliveryView,
    EndpointListView,
    EndpointView,
    EndpointWithSecretView,
    PingView,
    RedeliveredView,
    delivery_view,
    endpoint_list,
    endpoint_view,
    endpoint_with_secret,
    ping_view,
)
from service.fields.endpoint import (
    ChangeEndpoint,
    CreateEndpoint,
    PingEndpoint,
    read_changes,
    read_new_endpoint,
)
from service.fields.shapes import read_shape
from service.limits import JSON
from service.refusals import (
    BodyTooLarge,
    EndpointDisabled,
    FieldFault,
    InvalidFields,
    RecordUnavailable,
    ServiceBusy,
    TooManyEndpoints,
    UnknownDelivery,
    UnknownEndpoint,
    UnknownVideo,
    UnreadableBody,
    UnsupportedBody,
    UploadTooSlow,
    VideoGone,
)

router = APIRouter(tags=["webhooks"])

DAY_S = 24 * 3600
FIRST_TRY_S = 8  # a receiver that takes longer is looked up in the log: callers often give up at ten
LATEST = 4102444800.0  # the year 2100: a bound that floats keep exactly
SCHEMAS: dict[str, Any] = {
    shape.__name__: shape.model_json_schema() for shape in (CreateEndpoint, ChangeEndpoint, PingEndpoint)
}
READING = (UnreadableBody, UploadTooSlow, BodyTooLarge, UnsupportedBody, InvalidFields)
ALWAYS = (RecordUnavailable, ServiceBusy)

After = Annotated[str | None, Query(description="Go on behind this delivery: the last one of a page.")]
Limit = Annotated[int, Query(ge=1, le=100)]
Moment = Annotated[float | None, Query(ge=0, le=LATEST, allow_inf_nan=False)]


def json_body(name: str, *, required: bool = True) -> dict[str, Any]:
    """The `openapi_extra` of a route that reads JSON of this schema by itself."""
    schema = {"$ref": f"#/components/schemas/{name}"}
    return {"requestBody": {"required": required, "content": {JSON: {"schema": schema}}}}


@router.post(
    "/webhook_endpoints",
    summary="Add a webhook endpoint",
    status_code=201,
    openapi_extra=json_body("CreateEndpoint"),
    responses=documented(*READING, TooManyEndpoints, *ALWAYS),
)
async def create_webhook_endpoint(request: Request, parts: Parts, tenant: Tenant) -> EndpointWithSecretView:
    """It hears of all your jobs from now on. The answer holds its secret, which is never shown again."""
    asked = read_new_endpoint(await read_json(request))
    return endpoint_with_secret(*await parts.webhooks.create(tenant, asked))


@router.get(
    "/webhook_endpoints",
    summary="List your webhook endpoints",
    responses=documented(InvalidFields, *ALWAYS),
)
async def list_webhook_endpoints(
    parts: Parts,
    tenant: Tenant,
    after: Annotated[str | None, Query(description="Go on behind this id: the last page's last_id.")] = None,
    limit: Limit = 100,
) -> EndpointListView:
    """The oldest first."""
    return endpoint_list(await parts.webhooks.listed(tenant), after, limit)


@router.get(
    "/webhook_endpoints/{endpoint_id}",
    summary="Look at a webhook endpoint",
    responses=documented(UnknownEndpoint, *ALWAYS),
)
async def retrieve_webhook_endpoint(parts: Parts, tenant: Tenant, endpoint_id: str) -> EndpointView:
    """Without its secret."""
    return endpoint_view(await parts.webhooks.show(tenant, endpoint_id))


@router.patch(
    "/webhook_endpoints/{endpoint_id}",
    summary="Change a webhook endpoint",
    openapi_extra=json_body("ChangeEndpoint"),
    responses=documented(UnknownEndpoint, *READING, *ALWAYS),
)
async def change_webhook_endpoint(
    request: Request, parts: Parts, tenant: Tenant, endpoint_id: str
) -> EndpointView:
    """What is left out stays. What waits for the endpoint goes to the new URL."""
    asked = read_changes(await read_json(request))
    return endpoint_view(await parts.webhooks.change(tenant, endpoint_id, asked))


@router.delete(
    "/webhook_endpoints/{endpoint_id}",
    summary="Delete a webhook endpoint",
    responses=documented(UnknownEndpoint, *ALWAYS),
)
async def delete_webhook_endpoint(parts: Parts, tenant: Tenant, endpoint_id: str) -> DeletedEndpointView:
    """Nothing more is sent to it, and its secret is forgotten."""
    await parts.webhooks.delete(tenant, endpoint_id)
    return DeletedEndpointView(id=endpoint_id)


@router.post(
    "/webhook_endpoints/{endpoint_id}/rotate",
    summary="Change the secret of a webhook endpoint",
    responses=documented(UnknownEndpoint, InvalidFields, *ALWAYS),
)
async def rotate_webhook_secret(
    parts: Parts,
    tenant: Tenant,
    endpoint_id: str,
    overlap_s: Annotated[
        int, Query(ge=0, le=7 * DAY_S, description="For so long the old secret signs beside the new one.")
    ] = DAY_S,
) -> EndpointWithSecretView:
    """Both signatures stand in one header meanwhile, as Standard Webhooks has it. Only the last secret
    is kept beside the new one."""
    return endpoint_with_secret(*await parts.webhooks.rotate(tenant, endpoint_id, overlap_s))


@router.post(
    "/webhook_endpoints/{endpoint_id}/test",
    summary="Send a webhook endpoint a ping",
    status_code=202,
    openapi_extra=json_body("PingEndpoint", required=False),
    responses={
        200: {"model": PingView, "description": "The same, and the receiver has been tried."},
        **documented(UnknownEndpoint, *READING, *ALWAYS),
    },
)
async def ping_webhook_endpoint(
    request: Request,
    response: Response,
    parts: Parts,
    tenant: Tenant,
    endpoint_id: str,
    prefer: Prefer = None,
) -> PingView:
    """An event `webhook_endpoint.ping`, sent and logged like every other, to a disabled endpoint too. With
    `Prefer: wait=N`, or a body as OpenAI's clients send one, the answer waits for the first try."""
    given = await read_json(request) if has_body(request) else {}
    openais = read_shape(PingEndpoint, given).event_type is not None
    wait_s = asked_wait(prefer)
    if wait_s is None and openais:
        wait_s = FIRST_TRY_S
    sent = await parts.webhooks.ping(tenant, endpoint_id)
    if wait_s is not None:
        tried = await parts.waiting_room.until_ended(
            lambda: parts.webhooks.first_try(tenant, endpoint_id, sent), wait_s, request.is_disconnected
        )
        sent = sent if tried is None else tried.delivery
    response.status_code = 200 if sent.log else 202
    return ping_view(sent, endpoint_id)


@router.get(
    "/webhook_endpoints/{endpoint_id}/deliveries",
    summary="What was sent to a webhook endpoint",
    responses=documented(UnknownEndpoint, InvalidFields, *ALWAYS),
)
async def list_endpoint_deliveries(
    parts: Parts, tenant: Tenant, endpoint_id: str, after: After = None, limit: Limit = 20
) -> DeliveryListView:
    """The newest 1,000, the newest first."""
    found, more = await parts.webhooks.sent_to(tenant, endpoint_id, after, limit)
    return DeliveryListView(data=[delivery_view(each) for each in found], has_more=more)


@router.post(
    "/webhook_endpoints/{endpoint_id}/redeliver",
    summary="Send an endpoint its deliveries again",
    status_code=202,
    responses=documented(UnknownEndpoint, EndpointDisabled, InvalidFields, *ALWAYS),
)
async def redeliver_range(
    parts: Parts,
    tenant: Tenant,
    endpoint_id: str,
    since: Moment = None,
    until: Moment = None,
    only_failed: Annotated[bool, Query(description="false: also what was delivered.")] = True,
) -> RedeliveredView:
    """Those of the newest 1,000 that were made between `since` and `until` (Unix seconds), under their old
    `webhook-id`; what waits already is left alone."""
    start, end = since or 0.0, LATEST if until is None else until
    if start > end:
        raise InvalidFields([FieldFault.of("since", start, f"at most until ({end:.0f})")])
    count = await parts.webhooks.resend_range(tenant, endpoint_id, start, end, only_failed)
    return RedeliveredView(redelivered=count)


@router.get(
    "/videos/{video_id}/deliveries",
    summary="What was sent about a video",
    responses=documented(UnknownVideo, VideoGone, InvalidFields, *ALWAYS),
)
async def list_video_deliveries(
    parts: Parts, tenant: Tenant, video_id: str, after: After = None, limit: Limit = 20
) -> DeliveryListView:
    """To its own `webhook_url` and to endpoints, the newest first."""
    job = await parts.intake.show(tenant, video_id)
    found, more = await parts.webhooks.sent_of(tenant, job.id, after, limit)
    return DeliveryListView(data=[delivery_view(each) for each in found], has_more=more)


@router.post(
    "/webhook_deliveries/{delivery_id}/redeliver",
    summary="Send one delivery again",
    status_code=202,
    responses=documented(UnknownDelivery, *ALWAYS),
)
async def redeliver_one(parts: Parts, tenant: Tenant, delivery_id: str) -> DeliveryView:
    """Under its old `webhook-id`, with all tries before it. One that waits already is left alone."""
    return delivery_view(await parts.webhooks.resend(tenant, delivery_id))
