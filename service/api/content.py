"""`/videos/{id}/content`: the MP4 or the keyframe of one job, and the signed links of the files backend."""

from enum import StrEnum
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import RedirectResponse, Response

from service.api.files import ServedFile, file_response
from service.api.parts import GatewayParts, Parts, Tenant
from service.api.problems import documented
from service.api.views import Links
from service.contracts.artifact import Artifact
from service.contracts.job import VideoJob
from service.refusals import (
    BadSignature,
    ContentGone,
    ContentNotReady,
    ContentUnavailable,
    InvalidFields,
    NoContent,
    RecordUnavailable,
    UnknownRoute,
    UnknownVideo,
    UnsatisfiableRange,
)
from service.storage.links import LinkRefused

router = APIRouter()

_SUFFIXES = {"video/mp4": ".mp4", "image/png": ".png"}
_TYPES = {suffix: content_type for content_type, suffix in _SUFFIXES.items()}
_BYTES = {"schema": {"type": "string", "format": "binary"}}
_FILE_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"description": "The whole file.", "content": {"video/mp4": _BYTES, "image/png": _BYTES}},
    206: {"description": "The range asked for.", "content": {"video/mp4": _BYTES, "image/png": _BYTES}},
    304: {"description": "The client has this file already (If-None-Match)."},
}


class Variant(StrEnum):
    """Which of a job's files: the MP4, or the keyframe that stage 1 painted."""

    VIDEO = "video"
    IMAGE = "image"


@router.get(
    "/videos/{video_id}/content",
    tags=["videos"],
    summary="Download the video or its keyframe",
    response_class=Response,
    responses={
        **_FILE_ANSWERS,
        302: {"description": "A signed link (when the operator chose MICROCINEMA_CONTENT=redirect)."},
        **documented(
            UnknownVideo,
            NoContent,
            ContentNotReady,
            ContentGone,
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
    variant: Annotated[Variant, Query(description="video: the MP4. image: the keyframe.")] = Variant.VIDEO,
) -> Response:
    """Streams the file; understands Range, If-Range and If-None-Match. The ETag is the file's sha256."""
    job = await parts.intake.show(tenant, video_id)
    artifact = _artifact(job, variant)
    name = _filename(job, artifact)
    if parts.settings.content == "redirect":
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
    if job.artifact is None and job.keyframe is None:
        return Links()
    return Links(
        video=await _link(job, job.artifact, parts),
        image=await _link(job, job.keyframe, parts),
        expires_at=int(now) + parts.settings.link_ttl_s,
    )


async def _link(job: VideoJob, artifact: Artifact | None, parts: GatewayParts) -> str | None:
    if artifact is None:
        return None
    return await parts.shelf.link(artifact.key, parts.settings.link_ttl_s, _filename(job, artifact))


def _artifact(job: VideoJob, variant: Variant) -> Artifact:
    found = job.artifact if variant is Variant.VIDEO else job.keyframe
    if found is not None:
        return found
    if job.terminal:
        raise NoContent(f"the video {job.id} is {job.state}: it has no {variant}", param="variant")
    raise ContentNotReady(
        f"the video {job.id} is {job.state}: its {variant} is not there yet", param="variant"
    )


def _filename(job: VideoJob, artifact: Artifact) -> str:
    return f"{job.id}{_SUFFIXES.get(artifact.content_type, '')}"
