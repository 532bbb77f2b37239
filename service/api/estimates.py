"""What a video would cost, before anybody asks for it."""

from typing import Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from service.api.asking import BODY_REFUSALS, body_of
from service.api.body import read_body
from service.api.parts import Parts
from service.api.problems import documented
from service.fields.video import CreateVideo
from service.intake.estimating import estimate

router = APIRouter()


class EstimateView(BaseModel):
    """The request as it would be accepted, and its cost as measured on this fleet."""

    model_config = ConfigDict(title="VideoEstimate")

    object: Literal["video.estimate"] = "video.estimate"
    model: str
    size: str
    seconds: str
    num_frames: int
    fps: int
    num_inference_steps: int
    ahead: int = Field(description="Jobs of this model that wait now.")
    gpu_seconds: float | None = Field(description="Null until a first video of the model was measured.")
    eta_p50_seconds: float | None = Field(description="From now until the video is there; null as above.")
    eta_p90_seconds: float | None = Field(description="As nine of ten keep to; null before there were five.")


@router.post(
    "/videos/estimate",
    tags=["videos"],
    summary="What would this video cost?",
    openapi_extra=body_of(CreateVideo),
    responses=documented(*BODY_REFUSALS),
)
async def estimate_video(request: Request, parts: Parts) -> EstimateView:
    """The body of `POST /videos`, held to the same bounds by the same code; nothing is accepted or stored."""
    body = await read_body(request, parts.settings.max_text_bytes)
    found = await estimate(parts.intake, body.given, body.picture)
    wish, forecast = found.request, found.forecast
    fields: dict[str, Any] = {
        "model": wish.model,
        "size": f"{wish.width}x{wish.height}",
        "seconds": f"{wish.num_frames / wish.fps:g}",
        "num_frames": wish.num_frames,
        "fps": wish.fps,
        "num_inference_steps": wish.num_inference_steps,
        "ahead": forecast.ahead,
        "gpu_seconds": forecast.gpu_s,
        "eta_p50_seconds": forecast.p50_s,
        "eta_p90_seconds": forecast.p90_s,
    }
    return EstimateView.model_validate(fields)
