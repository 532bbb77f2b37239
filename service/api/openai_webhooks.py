"""Webhook endpoints in the words of OpenAI's clients, where those are other than ours: the same endpoints."""

from typing import Any

from fastapi import APIRouter, Request

from service.api.body import has_body, read_json
from service.api.parts import Parts, Tenant
from service.api.problems import documented
from service.api.webhook_views import (
    EndpointView,
    EndpointWithSecretView,
    EventTypeListView,
    endpoint_view,
    endpoint_with_secret,
)
from service.api.webhooks import ALWAYS, DAY_S, READING, json_body
from service.contracts.webhook_endpoint import EVENT_TYPES
from service.fields.endpoint import RotateSecret, read_changes
from service.fields.shapes import read_shape
from service.refusals import UnknownEndpoint

router = APIRouter(tags=["webhooks"])

SCHEMAS: dict[str, Any] = {RotateSecret.__name__: RotateSecret.model_json_schema()}


@router.get("/webhook_event_types", summary="List the events of webhooks", responses=documented(*ALWAYS))
async def list_webhook_event_types() -> EventTypeListView:
    """What an endpoint can ask for."""
    return EventTypeListView(data=list(EVENT_TYPES))


@router.post(
    "/webhook_endpoints/{endpoint_id}",
    summary="Change a webhook endpoint (OpenAI's way)",
    openapi_extra=json_body("ChangeEndpoint"),
    responses=documented(UnknownEndpoint, *READING, *ALWAYS),
)
async def update_webhook_endpoint(
    request: Request, parts: Parts, tenant: Tenant, endpoint_id: str
) -> EndpointView:
    """As PATCH does: what is left out stays."""
    asked = read_changes(await read_json(request))
    return endpoint_view(await parts.webhooks.change(tenant, endpoint_id, asked))


@router.post(
    "/webhook_endpoints/{endpoint_id}/rotate_secret",
    summary="Change the secret of a webhook endpoint (OpenAI's way)",
    openapi_extra=json_body("RotateSecret", required=False),
    responses=documented(UnknownEndpoint, *READING, *ALWAYS),
)
async def rotate_endpoint_secret(
    request: Request, parts: Parts, tenant: Tenant, endpoint_id: str
) -> EndpointWithSecretView:
    """As `rotate`, but that the old secret signs on only where it is asked for, and then for a day."""
    asked = read_shape(RotateSecret, await read_json(request) if has_body(request) else {})
    overlap_s = DAY_S if asked.keep_old_secret_active_for_24_hours else 0
    return endpoint_with_secret(*await parts.webhooks.rotate(tenant, endpoint_id, overlap_s))
