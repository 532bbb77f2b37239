"""The keyframe gate over HTTP: choose the picture that becomes the video."""

from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from service.api.asking import body_of, schemas_of
from service.api.body import read_body
from service.api.parts import Parts, Tenant
from service.api.presenting import present
from service.api.problems import documented
from service.api.views import VideoView
from service.contracts.request import MAX_CANDIDATES, Fit
from service.intake.gate import approve
from service.refusals import (
    BodyTooLarge,
    ContentUnavailable,
    InvalidFields,
    NotAwaitingApproval,
    RecordUnavailable,
    ServiceBusy,
    UnknownVideo,
    UnreadableBody,
    UnsupportedBody,
    UploadTooSlow,
    VideoGone,
)

router = APIRouter()


class ApproveKeyframe(BaseModel):
    """Which keyframe becomes the video."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"candidate": 0}]})

    candidate: int | None = Field(
        None,
        ge=0,
        lt=MAX_CANDIDATES,
        description="Its `index`. May be left out where there is one, and beside a picture of your own.",
    )
    fit: Fit | None = Field(
        None, description="How a picture of your own meets the size; as in `POST /videos`."
    )


SCHEMAS: dict[str, Any] = schemas_of(ApproveKeyframe, "A picture to animate instead of the candidates.")


@router.post(
    "/videos/{video_id}/approve",
    tags=["videos"],
    summary="Choose the keyframe",
    openapi_extra=body_of(ApproveKeyframe),
    responses=documented(
        UnreadableBody,
        UnknownVideo,
        UploadTooSlow,
        NotAwaitingApproval,
        VideoGone,
        BodyTooLarge,
        UnsupportedBody,
        InvalidFields,
        RecordUnavailable,
        ContentUnavailable,
        ServiceBusy,
    ),
)
async def approve_video(request: Request, parts: Parts, tenant: Tenant, video_id: str) -> VideoView:
    """A job with `pause_after` that is `awaiting_approval` goes on with the candidate that you name, or with
    a picture that you send as `input_reference`. The same choice again is no error."""
    body = await read_body(request, parts.settings.max_text_bytes)
    job = await approve(parts.intake, tenant, video_id, body.given, body.picture)
    return await present(request, parts, job)
