"""`/videos/{id}/content`: the MP4 of one job or a picture of it, and the signed links of local storage."""

from enum import StrEnum
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import RedirectResponse, Response

from service.api.addresses import Links
from service.api.files import ServedFile, file_response
from service.api.parts import GatewayParts, Parts, Tenant
from service.api.problems import documented
from service.contracts.artifact import Artifact
from service.contracts.job import VideoJob
from service.contracts.request import MAX_CANDIDATES
from service.refusals import (
    BadSignature,
    ContentGone,
    ContentNotReady,
    ContentUnavailable,
    FieldFault,
    InvalidFields,
    MissingScope,
    NoContent,
    RecordUnavailable,
    Unauthenticated,
    UnknownRoute,
    UnknownVideo,
    UnsatisfiableRange,
    VideoGone,
)
from service.storage.links import LinkRefused

router = APIRouter()

_SUFFIXES = {"video/mp4": ".mp4", "image/png": ".png", "image/webp": ".webp", "image/jpeg": ".jpg"}
_TYPES = {suffix: content_type for content_type, suffix in _SUFFIXES.items()}
_BYTES = {"schema": {"type": "string", "format": "binary"}}
_FILE_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"description": "The whole file.", "content": dict.fromkeys(_SUFFIXES, _BYTES)},
    206: {"description": "The range asked for.", "content": dict.fromkeys(_SUFFIXES, _BYTES)},
    304: {"description": "The client has this file already (If-None-Match)."},
}


class Variant(StrEnum):
    """Which of a job's files: the MP4, its centre frame (WebP), up to 16 small frames in rows of four (JPEG),
    or the keyframe (PNG)."""

    VIDEO = "video"
    THUMBNAIL = "thumbnail"
    SPRITESHEET = "spritesheet"
    IMAGE = "image"


@router.get(
    "/videos/{video_id}/content",
    tags=["videos"],
    summary="Download the video or a picture of it",
    response_class=Response,
    responses={
        **_FILE_ANSWERS,
        302: {"description": "A signed link (when the operator chose MICROCINEMA_CONTENT=redirect)."},
        **documented(
            Unauthenticated,
            MissingScope,
            UnknownVideo,
            NoContent,
            ContentNotReady,
            ContentGone,
            VideoGone,
            UnsatisfiableRange,
            InvalidFields,
            RecordUnavailable,
            ContentUnavailable,
        ),
    },
)
async def download_video(
    request: Request,
    parts: Parts,
    tenant: Tenant,
    video_id: str,
    variant: Annotated[
        Variant,
        Query(
            description="video: the MP4. thumbnail: the centre frame, WebP, at most 512 pixels. spritesheet: "
            "up to 16 frames in reading order, four a row, JPEG. image: the keyframe, PNG."
        ),
    ] = Variant.VIDEO,
    candidate: Annotated[
        int | None,
        Query(ge=0, lt=MAX_CANDIDATES, description="With `variant=image`: this keyframe of a gated job."),
    ] = None,
) -> Response:
    """Streams the file; understands Range, If-Range and If-None-Match. The ETag is the file's sha256.

    HEAD is answered here even where GET redirects: a presigned link is good for the method it was signed for.
    """
    job = await parts.intake.show(tenant, video_id)
    artifact = _artifact(job, variant) if candidate is None else _candidate(job, variant, candidate)
    if _is_over(job, parts.intake.clock()):
        raise ContentGone(f"the time of the video {video_id} is over")
    name = _filename(job, artifact)
    if parts.settings.content == "redirect" and request.method != "HEAD":
        link = await parts.shelf.link(artifact.key, parts.settings.link_ttl_s, name)
        return RedirectResponse(link, 302, {"cache-control": "no-store"})
    file = ServedFile(artifact.key, artifact.bytes, artifact.sha256, artifact.content_type, name)
    return await file_response(request, parts.shelf, file)


@router.get(
    "/artifacts/{key:path}",
    tags=["videos"],
    summary="Follow a signed link of the local storage",
    response_class=Response,
    responses={
        **_FILE_ANSWERS,
        **documented(
            BadSignature, UnknownRoute, ContentGone, UnsatisfiableRange, InvalidFields, ContentUnavailable
        ),
    },
)
async def follow_link(
    request: Request,
    parts: Parts,
    key: str,
    expires: int,
    signature: str,
    filename: str | None = None,
) -> Response:
    """Links come from a job's `urls`; S3 storage serves its own, so this path is then unknown."""
    if parts.signer is None:
        raise UnknownRoute("this service's links lead to its storage, not here")
    try:
        parts.signer.verify(key, expires, signature, filename)
    except LinkRefused as error:
        raise BadSignature(str(error)) from None
    stored = await parts.shelf.head(key)
    if stored.sha256 is None:
        raise ContentGone("this file was not stored by this service")
    last = key.rpartition("/")[2]
    content_type = next(
        (kind for end, kind in _TYPES.items() if last.endswith(end)), "application/octet-stream"
    )
    file = ServedFile(
        key, stored.bytes, stored.sha256, content_type, filename or last, attached=filename is not None
    )
    return await file_response(request, parts.shelf, file)


async def fresh_links(job: VideoJob, parts: GatewayParts, now: float) -> Links:
    """Signed links to the files that the record names, made now and never stored."""
    if _is_over(job, now):
        return Links()
    ttl = parts.settings.link_ttl_s
    events = parts.link_signer.events_link(job.id, ttl) if parts.link_signer else None
    if not (job.artifact or job.keyframe or job.candidates):  # every job in its beginning
        return Links(events=events, expires_at=int(now) + ttl)
    candidates = [await _link(job, candidate, parts) or "" for candidate in job.candidates]
    return Links(
        video=await _link(job, job.artifact, parts),
        thumbnail=await _link(job, _of_film(job, Variant.THUMBNAIL), parts),
        spritesheet=await _link(job, _of_film(job, Variant.SPRITESHEET), parts),
        image=await _link(job, job.keyframe, parts),
        events=events,
        candidates=tuple(candidates),
        expires_at=int(now) + ttl,
    )


async def _link(job: VideoJob, artifact: Artifact | None, parts: GatewayParts) -> str | None:
    if artifact is None:
        return None
    return await parts.shelf.link(artifact.key, parts.settings.link_ttl_s, _filename(job, artifact))


def _artifact(job: VideoJob, variant: Variant) -> Artifact:
    found = job.keyframe if variant is Variant.IMAGE else _of_film(job, variant)
    if found is not None:
        return found
    if job.terminal:
        raise NoContent(f"the video {job.id} is {job.state}: it has no {variant}", param="variant")
    raise ContentNotReady(
        f"the video {job.id} is {job.state}: its {variant} is not there yet", param="variant"
    )


def _candidate(job: VideoJob, variant: Variant, index: int) -> Artifact:
    if variant is not Variant.IMAGE:
        raise InvalidFields([FieldFault.of("candidate", index, "left out but with variant=image")])
    if index < len(job.candidates):
        return job.candidates[index]
    if job.terminal or job.request.gate is None or index >= job.request.gate.candidates:
        raise NoContent(f"the video {job.id} has {len(job.candidates)} candidates", param="candidate")
    raise ContentNotReady(
        f"the video {job.id} is {job.state}: this candidate is not there yet", param="candidate"
    )


def _is_over(job: VideoJob, now: float) -> bool:
    """From `expires_at` on nothing is served, also while the janitor has not come by yet."""
    return job.expires_at is not None and job.expires_at <= now


def _of_film(job: VideoJob, variant: Variant) -> Artifact | None:
    film = job.artifact
    if film is None or variant is Variant.VIDEO:
        return film
    return film.thumbnail if variant is Variant.THUMBNAIL else film.spritesheet


def _filename(job: VideoJob, artifact: Artifact) -> str:
    return f"{job.id}{_SUFFIXES.get(artifact.content_type, '')}"
