"""Videos made of videos."""

from fastapi import APIRouter, Request, Response

from service.api.asking import ACCEPTED, JOB_REFUSALS, IdempotencyKey, Prefer, RetryCount, body_of, schemas_of
from service.api.body import read_body
from service.api.parts import Parts, Tenant
from service.api.presenting import answer_accepted, asked_wait, is_repeat
from service.api.problems import documented
from service.api.views import VideoView
from service.refusals import (
    CannotExtend,
    ContentGone,
    NoContent,
    RecordUnavailable,
    ServiceBusy,
    SourceNotReady,
    UnknownVideo,
    VideoGone,
)
from service.remix import RemixVideo, remix

router = APIRouter()

SCHEMAS = schemas_of(RemixVideo, "A picture to animate instead.")


@router.post(
    "/videos/{video_id}/remix",
    tags=["videos"],
    summary="Make a video over with another prompt",
    status_code=202,
    response_model=VideoView,
    openapi_extra=body_of(RemixVideo),
    responses={
        **ACCEPTED,
        **documented(*JOB_REFUSALS, UnknownVideo, NoContent, SourceNotReady, ContentGone, VideoGone),
    },
)
async def remix_video(
    request: Request,
    response: Response,
    parts: Parts,
    tenant: Tenant,
    video_id: str,
    idempotency_key: IdempotencyKey = None,
    prefer: Prefer = None,
    x_stainless_retry_count: RetryCount = None,
) -> VideoView:
    """A new job like the succeeded one: same model, size, length, seed and sampling, and the picture that its
    client sent. Whatever the body names is taken instead; `keep_keyframe` animates the old keyframe anew."""
    body = await read_body(request, parts.settings.max_text_bytes)
    repeat = is_repeat(x_stainless_retry_count)
    accepted = await remix(parts.intake, tenant, video_id, body.given, body.picture, idempotency_key, repeat)
    return await answer_accepted(request, response, parts, tenant, accepted, asked_wait(prefer))


@router.post(
    "/videos/{video_id}/extend",
    tags=["videos"],
    summary="Go on where a video ends",
    status_code=422,
    response_class=Response,
    responses=documented(UnknownVideo, VideoGone, CannotExtend, RecordUnavailable, ServiceBusy),
)
async def extend_video(parts: Parts, tenant: Tenant, video_id: str) -> Response:
    """Always a 422 that says why: no model here continues a clip. Asked, so that no client has to guess."""
    job = await parts.intake.show(tenant, video_id)
    raise CannotExtend(
        f"{job.request.model} makes each clip whole and goes on from none; "
        f"POST /videos/{job.id}/remix makes this one over, input_reference begins with a picture"
    )
