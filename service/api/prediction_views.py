"""A job as Replicate's clients read it."""

from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from service.api.views import VideoView
from service.contracts.lifecycle import State
from service.fields.prediction import MODEL_OWNER

Status = Literal["starting", "processing", "succeeded", "failed", "canceled"]

_STATUS: dict[State, Status] = {
    State.QUEUED: "starting",
    State.RUNNING: "processing",
    State.AWAITING_APPROVAL: "processing",
    State.SUCCEEDED: "succeeded",
    State.FAILED: "failed",
    State.CANCELLED: "canceled",
    State.EXPIRED: "failed",
}
_ENDED = frozenset({"succeeded", "failed", "canceled"})
#: What of a video its client asked for, in the words of `POST /videos`.
_INPUT = (
    *("prompt", "negative_prompt", "size", "num_frames", "fps", "seed", "num_inference_steps"),
    *("guidance_scale", "gamma", "sampler"),
)
_BAR = 10


class PredictionUrlsView(BaseModel):
    """Where the prediction is looked at and called off."""

    get: str
    cancel: str


class PredictionView(BaseModel):
    """A video job in Replicate's shape; the same job is a video under `/videos/{id}`."""

    model_config = ConfigDict(title="Prediction")

    id: str
    model: str = Field(description=f"{MODEL_OWNER}/ and the model's name.")
    version: str = Field(description="The model's name.")
    status: Status
    input: dict[str, Any] = Field(description="With every default filled in.")
    output: str | None = Field(None, description="A signed link to the MP4, good for anyone, for a while.")
    logs: str = Field(description="The stage and its steps, as a bar that the client counts `progress` by.")
    error: str | None = None
    metrics: dict[str, float]
    created_at: str
    started_at: str | None = None
    completed_at: str | None = None
    urls: PredictionUrlsView


class PredictionListView(BaseModel):
    """One page, the newest first; `next` is the address of the one behind it."""

    model_config = ConfigDict(title="PredictionList")

    previous: None = None
    next: str | None
    results: list[PredictionView]


def prediction_view(video: VideoView, base: str, *, just_made: bool = False) -> PredictionView:
    """`base` is what routes are appended to. `just_made`: this answers its creation.

    Replicate's `run` waits on for a prediction that comes back as starting and takes the output of any other,
    so an answer to a creation never says processing.
    """
    status = _STATUS[video.state]
    if just_made and status not in _ENDED:
        status = "starting"
    place = f"{base}/predictions/{video.id}"
    return PredictionView(
        id=video.id,
        model=f"{MODEL_OWNER}/{video.model}",
        version=video.model,
        status=status,
        input={name: getattr(video, name) for name in _INPUT},
        output=video.urls.video_link,
        logs=_logs(video),
        error=f"{video.error.code}: {video.error.message}" if video.error else None,
        metrics=_metrics(video),
        created_at=_written(video.created_at),
        started_at=None if video.started_at is None else _written(video.started_at),
        completed_at=None if video.completed_at is None else _written(video.completed_at),
        urls=PredictionUrlsView(get=place, cancel=f"{place}/cancel"),
    )


def _logs(video: VideoView) -> str:
    """One line as tqdm writes them, where these clients look for their progress; "" before a first step."""
    if not video.steps:
        return ""
    bar = ("#" * (_BAR * video.progress // 100)).ljust(_BAR)
    return f"{video.progress}%|{bar}| {video.step}/{video.steps} {video.stage or ''}\n"


def _metrics(video: VideoView) -> dict[str, float]:
    """Seconds, as far as they are known: `predict_time` of the attempt, `total_time` from POST to end."""
    metrics: dict[str, float] = {}
    took = video.usage.get("seconds")
    if isinstance(took, int | float):
        metrics["predict_time"] = float(took)
    if video.completed_at is not None:
        metrics["total_time"] = float(video.completed_at - video.created_at)
    return metrics


def _written(moment: int) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat().replace("+00:00", "Z")
