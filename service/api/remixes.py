"""Videos made of videos."""

from fastapi import APIRouter, Request, Response

from service.api.asking import ACCEPTED, JOB_REFUSALS, IdempotencyKey, Prefer, RetryCount, body_of, schemas_of
from service.api.body import read_body
from service.api.parts import Parts, Tenant
from service.api.presenting import answer_accepted, asked_wait, is_repeat
from service.api.problems import documented
from service.api.views import VideoView
from service.intake.extending import ExtendNamedVideo, ExtendVideo, extend, named_video
from service.intake.remix import RemixVideo, remix
from service.refusals import ContentGone, NoContent, UnknownVideo, VideoGone
from service.source_refusals import CannotEdit, CannotExtend, SourceNotReady

router = APIRouter()

SCHEMAS = {
    **schemas_of(RemixVideo, "A picture to animate instead."),
    **schemas_of(ExtendVideo, None),
    **schemas_of(ExtendNamedVideo, None),
}
_EXTENDED = {
    **ACCEPTED,
    **documented(*JOB_REFUSALS, UnknownVideo, SourceNotReady, ContentGone, VideoGone, CannotExtend),
}


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
    status_code=202,
    response_model=VideoView,
    openapi_extra=body_of(ExtendVideo),
    responses=_EXTENDED,
)
async def extend_video(
    request: Request,
    response: Response,
    parts: Parts,
    tenant: Tenant,
    video_id: str,
    idempotency_key: IdempotencyKey = None,
    prefer: Prefer = None,
    x_stainless_retry_count: RetryCount = None,
) -> VideoView:
    """A new job whose clip begins at the last frame of the succeeded one and is served behind it, as one
    film. For models whose `spec.keyframe` is `first`; others answer 422 `cannot_extend`."""
    body = await read_body(request, parts.settings.max_text_bytes)
    repeat = is_repeat(x_stainless_retry_count)
    accepted = await extend(parts.intake, tenant, video_id, body.given, body.picture, idempotency_key, repeat)
    return await answer_accepted(request, response, parts, tenant, accepted, asked_wait(prefer))


@router.post(
    "/videos/extensions",
    tags=["videos"],
    summary="Go on where a video ends (OpenAI's route)",
    status_code=202,
    response_model=VideoView,
    openapi_extra=body_of(ExtendNamedVideo),
    responses=_EXTENDED,
)
async def extend_named_video(
    request: Request,
    response: Response,
    parts: Parts,
    tenant: Tenant,
    idempotency_key: IdempotencyKey = None,
    prefer: Prefer = None,
    x_stainless_retry_count: RetryCount = None,
) -> VideoView:
    """The same, where the body names the video: `{"video": {"id": ...}}`."""
    body = await read_body(request, parts.settings.max_text_bytes)
    video_id, given = named_video(body.given)
    repeat = is_repeat(x_stainless_retry_count)
    accepted = await extend(parts.intake, tenant, video_id, given, body.picture, idempotency_key, repeat)
    return await answer_accepted(request, response, parts, tenant, accepted, asked_wait(prefer))


@router.post("/videos/edits", include_in_schema=False)
async def edit_video() -> None:
    """OpenAI's route: whoever calls it learns what there is instead, and not that `edits` is no video."""
    raise CannotEdit(
        "no model here edits a video; POST /videos/{id}/remix makes it over by another prompt, "
        "with keep_keyframe from the same picture"
    )


@router.post("/videos/characters", include_in_schema=False)
async def create_character() -> None:
    """The same for characters."""
    raise CannotEdit("no model here keeps characters; send a picture of yours as input_reference")
