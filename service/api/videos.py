"""The videos API, in the shape of OpenAI's."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response

from service.access import reaching_record
from service.api.body import read_body
from service.api.content import fresh_links
from service.api.parts import GatewayParts, Parts, Tenant, served_base
from service.api.problems import documented
from service.api.views import (
    DeletedView,
    ModelListView,
    ModelView,
    Outlook,
    VideoListView,
    VideoView,
    outlook_of,
    video_view,
)
from service.contracts.job import VideoJob
from service.contracts.lifecycle import State
from service.fields import PICTURE_FIELD, CreateVideo
from service.refusals import (
    AlreadyFinished,
    BodyTooLarge,
    ContentUnavailable,
    IdempotencyConflict,
    IntakePaused,
    InvalidFields,
    NoModelYet,
    QueueFull,
    RecordUnavailable,
    Refusal,
    ServiceBusy,
    UnknownModel,
    UnknownVideo,
    UnreadableBody,
    UnsupportedBody,
    UploadTooSlow,
)
from service.store.nouns import Order

router = APIRouter()

#: A job is shown without its outlook rather than late (seconds).
OUTLOOK_LIMIT_S = 1.0

_FIELDS = CreateVideo.model_json_schema(ref_template="#/components/schemas/{model}")
_PICTURE = {
    "type": "string",
    "format": "binary",
    "description": "A PNG, JPEG or WebP picture that becomes the keyframe; stage 1 is skipped.",
}
_FORM = {**_FIELDS, "properties": {**_FIELDS["properties"], PICTURE_FIELD: _PICTURE}}
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"$ref": "#/components/schemas/CreateVideo"}},
            "multipart/form-data": {"schema": {"$ref": "#/components/schemas/CreateVideoForm"}},
        },
    }
}
#: What to do with an accepted job's id: tools that read OpenAPI follow these from one call to the next.
_LINKS = {
    name: {"operationId": name, "parameters": {"video_id": "$response.body#/id"}}
    for name in ("retrieve_video", "cancel_video", "download_video", "delete_video")
}
#: Schemas that routes refer to and FastAPI cannot find by itself, because the body is read by hand.
SCHEMAS = {
    "CreateVideo": {name: part for name, part in _FIELDS.items() if name != "$defs"},
    "CreateVideoForm": {name: part for name, part in _FORM.items() if name not in ("$defs", "examples")},
    **_FIELDS.get("$defs", {}),
}


@router.post(
    "/videos",
    tags=["videos"],
    summary="Ask for a video",
    status_code=202,
    response_model=VideoView,
    openapi_extra=_BODY,
    responses={
        200: {"model": VideoView, "description": "The job that this Idempotency-Key made before."},
        202: {
            "description": "Accepted: the job is on record and will be worked on.",
            "headers": {"Location": {"schema": {"type": "string"}, "description": "The job."}},
            "links": _LINKS,
        },
        **documented(
            UnreadableBody,
            UnknownModel,
            UploadTooSlow,
            BodyTooLarge,
            UnsupportedBody,
            InvalidFields,
            IdempotencyConflict,
            QueueFull,
            RecordUnavailable,
            NoModelYet,
            IntakePaused,
            ContentUnavailable,
            ServiceBusy,
        ),
    },
)
async def create_video(
    request: Request,
    response: Response,
    parts: Parts,
    tenant: Tenant,
    idempotency_key: Annotated[
        str | None, Header(description="The same key and request again answer with the same job.")
    ] = None,
) -> VideoView:
    """JSON and multipart/form-data are read alike; only the latter can carry `input_reference`."""
    body = await read_body(request, parts.settings.max_text_bytes)
    accepted = await parts.intake.submit(tenant, body.given, body.picture, idempotency_key)
    view = await _view(request, parts, accepted.job)
    response.status_code = 202 if accepted.created else 200
    response.headers["location"] = view.urls.self_
    return view


@router.get(
    "/videos",
    tags=["videos"],
    summary="List your videos",
    responses=documented(InvalidFields, RecordUnavailable),
)
async def list_videos(
    request: Request,
    parts: Parts,
    tenant: Tenant,
    after: Annotated[str | None, Query(description="Go on behind this id: the last page's last_id.")] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    order: Annotated[Order, Query(description="By arrival; desc: the newest first.")] = Order.DESC,
) -> VideoListView:
    """Without signed links: ask for one video to get fresh ones."""
    page = await parts.intake.page(tenant, after, limit, order)
    base = served_base(request, parts)
    outlook = await _outlooks(parts, page.jobs)
    data = [video_view(job, base, outlook(job)) for job in page.jobs]
    return VideoListView(
        data=data,
        has_more=page.has_more,
        first_id=data[0].id if data else None,
        last_id=data[-1].id if data else None,
    )


@router.get(
    "/videos/{video_id}",
    tags=["videos"],
    summary="Look at one video",
    responses=documented(UnknownVideo, RecordUnavailable),
)
async def retrieve_video(
    request: Request, response: Response, parts: Parts, tenant: Tenant, video_id: str
) -> VideoView:
    """Poll this until `status` is completed or failed; `openai-poll-after-ms` says how often."""
    job = await parts.intake.show(tenant, video_id)
    response.headers["openai-poll-after-ms"] = str(parts.settings.poll_after_ms)
    return await _view(request, parts, job)


@router.delete(
    "/videos/{video_id}",
    tags=["videos"],
    summary="Delete a video",
    responses=documented(UnknownVideo, RecordUnavailable),
)
async def delete_video(parts: Parts, tenant: Tenant, video_id: str) -> DeletedView:
    """Hides the job at once, stops it if it runs, and deletes its files soon after."""
    await parts.intake.delete(tenant, video_id)
    return DeletedView(id=video_id)


@router.post(
    "/videos/{video_id}/cancel",
    tags=["videos"],
    summary="Call a video off",
    responses=documented(UnknownVideo, AlreadyFinished, RecordUnavailable),
)
async def cancel_video(request: Request, parts: Parts, tenant: Tenant, video_id: str) -> VideoView:
    """A waiting job is `cancelled` at once; a running one stops after the step in its hands (until then
    `cancel_requested`). It ends with status failed and error.code cancelled. Asking twice is no error."""
    return await _view(request, parts, await parts.intake.cancel(tenant, video_id))


@router.get("/models", tags=["models"], summary="List the models", responses=documented(RecordUnavailable))
async def list_models(parts: Parts) -> ModelListView:
    """With the bounds that requests are checked against."""
    entries = await parts.intake.catalogue()
    return ModelListView(
        data=[
            ModelView(id=entry.spec.name, live_workers=entry.live_workers, spec=entry.spec)
            for entry in entries
        ]
    )


async def _view(request: Request, parts: GatewayParts, job: VideoJob) -> VideoView:
    links = await fresh_links(job, parts, parts.intake.clock())
    outlook = await _outlooks(parts, [job])
    return video_view(job, served_base(request, parts), outlook(job), links)


async def _outlooks(parts: GatewayParts, jobs: Sequence[VideoJob]) -> Callable[[VideoJob], Outlook]:
    """From a job to its outlook, by one reading for all of `jobs`.

    Kind but not needed: jobs are shown without it when the record has just gone away.
    """
    waiting = [job.id for job in jobs if job.state is State.QUEUED]
    if waiting:
        with suppress(Refusal):
            async with reaching_record(OUTLOOK_LIMIT_S):
                snapshot, catalogue = await parts.snapshots.get(), await parts.catalogues.get()
                ahead = await parts.intake.jobs.ahead(waiting)
                return lambda job: outlook_of(job, snapshot, catalogue, ahead.get(job.id))
    return lambda _: Outlook()
