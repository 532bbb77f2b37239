"""How a video came to be, and whether the same comes out again."""

from typing import Any

from fastapi import APIRouter, Request, Response

from service.api.asking import ACCEPTED, JOB_REFUSALS, IdempotencyKey, Prefer, RetryCount, body_of, schemas_of
from service.api.body import Body, has_body, read_body
from service.api.parts import Parts, Tenant
from service.api.presenting import answer_accepted, asked_wait, is_repeat
from service.api.problems import documented
from service.api.views import VideoView
from service.contracts.receipt import Receipt
from service.intake.reproducing import ReproduceVideo, reproduce
from service.refusals import (
    ContentGone,
    ContentNotReady,
    NoContent,
    RecordUnavailable,
    UnknownVideo,
    VideoGone,
)
from service.source_refusals import CannotReproduce, SourceNotReady

router = APIRouter()

SCHEMAS: dict[str, Any] = schemas_of(ReproduceVideo, None)
_BODY = body_of(ReproduceVideo)
_BODY["requestBody"]["required"] = False


@router.get(
    "/videos/{video_id}/receipt",
    tags=["videos"],
    summary="Look up how a video came to be",
    responses=documented(UnknownVideo, NoContent, ContentNotReady, VideoGone, RecordUnavailable),
)
async def read_receipt(parts: Parts, tenant: Tenant, video_id: str) -> Receipt:
    """All that decided about its frames, as its worker wrote it down with the last of them: prompts, seeds,
    weights, sampling, number formats, device and versions. The same is in the job as `receipt`."""
    job = await parts.intake.show(tenant, video_id)
    if job.artifact is not None and job.artifact.receipt is not None:
        return job.artifact.receipt
    if job.terminal:
        raise NoContent(f"the video {job.id} is {job.state}: it has no receipt")
    raise ContentNotReady(f"the video {job.id} is {job.state}: its receipt is written at its end")


@router.post(
    "/videos/{video_id}/reproduce",
    tags=["videos"],
    summary="Make a video again and compare",
    status_code=202,
    response_model=VideoView,
    openapi_extra=_BODY,
    responses={
        **ACCEPTED,
        **documented(*JOB_REFUSALS, UnknownVideo, SourceNotReady, ContentGone, VideoGone, CannotReproduce),
    },
)
async def reproduce_video(
    request: Request,
    response: Response,
    parts: Parts,
    tenant: Tenant,
    video_id: str,
    idempotency_key: IdempotencyKey = None,
    prefer: Prefer = None,
    x_stainless_retry_count: RetryCount = None,
) -> VideoView:
    """A new job from the same prompts, seeds, picture and film as the succeeded one, on the same weights:
    with others it is a 409 `cannot_reproduce`. Its `reproduction` says in the end whether the frames are
    `equal`, how far they are apart, or why that says nothing. The body may be left out."""
    body = await read_body(request, parts.settings.max_text_bytes) if has_body(request) else Body({})
    repeat = is_repeat(x_stainless_retry_count)
    accepted = await reproduce(
        parts.intake, tenant, video_id, body.given, body.picture, idempotency_key, repeat
    )
    return await answer_accepted(request, response, parts, tenant, accepted, asked_wait(prefer))
