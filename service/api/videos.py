"""The videos API, in the shape of OpenAI's."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from service.answer_headers import asked
from service.api.asking import (
    ACCEPTED,
    HEADER_PARAMETERS,
    JOB_REFUSALS,
    body_of,
    schemas_of,
)
from service.api.body import read_body
from service.api.metadata_filter import METADATA_PARAMETER, asked_metadata
from service.api.model_views import ModelListView, ModelView, model_list, named_model
from service.api.parts import Parts, Tenant, owner_of, parts_of, served_base
from service.api.presenting import (
    Head,
    accepted_fields,
    asked_wait,
    is_repeat,
    outlooks,
    present,
    present_fields,
)
from service.api.problems import documented
from service.api.views import (
    DeletedView,
    VideoListView,
    VideoView,
    video_view,
)
from service.fields.video import CreateVideo
from service.refusals import (
    AlreadyFinished,
    InvalidFields,
    NoSuchModel,
    RecordUnavailable,
    UnknownVideo,
    VideoGone,
)
from service.store.nouns import Order

router = APIRouter()

#: Called as service/api/direct.py has it.
DIRECT = ("create_video", "retrieve_video")

SCHEMAS = schemas_of(
    CreateVideo, "A PNG, JPEG or WebP picture that becomes the keyframe; stage 1 is skipped."
)


@router.post(
    "/videos",
    tags=["videos"],
    summary="Ask for a video",
    status_code=202,
    response_model=VideoView,
    openapi_extra={**body_of(CreateVideo), "parameters": HEADER_PARAMETERS},
    responses={**ACCEPTED, **documented(*JOB_REFUSALS)},
)
async def create_video(request: Request) -> Response:
    """JSON and multipart/form-data are read alike; only the latter can carry `input_reference`."""
    parts, tenant, scope = parts_of(request), owner_of(request), request.scope
    body = await read_body(request, parts.settings.max_text_bytes)
    repeat = is_repeat(asked(scope, b"x-stainless-retry-count"))
    accepted = await parts.intake.submit(
        tenant, body.given, body.picture, asked(scope, b"idempotency-key"), repeat=repeat
    )
    head = Head()
    return head.over(
        await accepted_fields(request, head, parts, tenant, accepted, asked_wait(asked(scope, b"prefer")))
    )


@router.get(
    "/videos",
    tags=["videos"],
    summary="List your videos",
    openapi_extra={"parameters": [METADATA_PARAMETER]},
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
    metadata = asked_metadata(request.query_params.multi_items())
    page = await parts.intake.page(tenant, after, limit, order, metadata)
    base = served_base(request, parts)
    outlook = await outlooks(parts, page.jobs)
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
    response_model=VideoView,
    responses=documented(UnknownVideo, VideoGone, RecordUnavailable),
)
async def retrieve_video(request: Request, video_id: str) -> Response:
    """Poll this until `status` is completed or failed; `openai-poll-after-ms` says how often."""
    parts = parts_of(request)
    seen = await parts.intake.look(owner_of(request), video_id)
    fields = await present_fields(request, parts, seen.job, seen.forecast)
    return Head(headers={"openai-poll-after-ms": str(parts.settings.poll_after_ms)}).over(fields)


@router.delete(
    "/videos/{video_id}",
    tags=["videos"],
    summary="Delete a video",
    responses=documented(UnknownVideo, VideoGone, RecordUnavailable),
)
async def delete_video(parts: Parts, tenant: Tenant, video_id: str) -> DeletedView:
    """Hides the job at once, stops it if it runs, and deletes its files soon after."""
    await parts.intake.delete(tenant, video_id)
    return DeletedView(id=video_id)


@router.post(
    "/videos/{video_id}/cancel",
    tags=["videos"],
    summary="Call a video off",
    responses=documented(UnknownVideo, AlreadyFinished, VideoGone, RecordUnavailable),
)
async def cancel_video(request: Request, parts: Parts, tenant: Tenant, video_id: str) -> VideoView:
    """A waiting job is `cancelled` at once; a running one stops after the step in its hands (until then
    `cancel_requested`). It ends with status failed and error.code cancelled. Asking twice is no error."""
    return await present(request, parts, await parts.intake.cancel(tenant, video_id))


@router.get("/models", tags=["models"], summary="List the models", responses=documented(RecordUnavailable))
async def list_models(parts: Parts) -> ModelListView:
    """With the bounds that requests are checked against, and what their last videos took here."""
    return model_list(await parts.intake.catalogue.now(), parts.intake.aliases)


@router.get(
    "/models/{name}",
    tags=["models"],
    summary="Look at one model",
    responses=documented(NoSuchModel, RecordUnavailable),
)
async def retrieve_model(parts: Parts, name: str) -> ModelView:
    """As the list shows it. A foreign name that the operator lets stand for one of ours shows that one."""
    return named_model(name, await parts.intake.catalogue.now(), parts.intake.aliases)
