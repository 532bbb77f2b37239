"""What clients get to see: OpenAI's video object and list, with extra fields of ours."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from service.api import examples
from service.api.addresses import Links, UrlsView, addresses
from service.api.candidates import GateView, gate_view
from service.contracts.artifact import Artifact
from service.contracts.job import VideoJob
from service.contracts.lifecycle import TABLE, Stage, State
from service.contracts.receipt import Receipt, Reproduction
from service.store.gauges import Snapshot
from service.store.nouns import CatalogueEntry, Forecast


class ErrorView(BaseModel):
    """Why there is no video."""

    code: str = Field(description="A stable word, such as cancelled or out_of_memory.")
    message: str
    retryable: bool = Field(description="Whether the same request may work if sent again.")


class FileView(BaseModel):
    """A stored file. `frame_digest` is the sha256 of the raw frames: equal digests are equal videos."""

    content_type: str
    bytes: int
    sha256: str
    width: int
    height: int
    frames: int | None = None
    fps: int | None = None
    frame_digest: str | None = None


class QueueView(BaseModel):
    """The pool in which the job waits."""

    pool: str
    ready: int = Field(description="Jobs of the pool that wait, this one included.")
    ahead: int | None = Field(
        None,
        description="Jobs of this model that were queued before; fair turns may let later ones go first.",
    )
    eta_p50_seconds: float | None = Field(
        None, description="From now until the video is there, in the middle; null before any was measured."
    )
    eta_p90_seconds: float | None = Field(
        None, description="The same as nine of ten keep to; null before five videos could be compared."
    )
    live_workers: int


class AttemptView(BaseModel):
    """One try by one worker. `outcome` is the job's state behind it: `queued` means that it waits again."""

    model_config = ConfigDict(from_attributes=True)

    number: int
    worker: str
    started_at: float
    ended_at: float | None = None
    outcome: State | None = None
    reason: str | None = Field(None, description="Such as worker_lost, or the error's code.")


class VideoView(BaseModel):
    """A video job in OpenAI's shape. `state` is the exact state; `status` is OpenAI's word for it."""

    model_config = ConfigDict(title="Video", json_schema_extra={"examples": [examples.VIDEO]})

    id: str
    object: Literal["video"] = "video"
    status: Literal["queued", "in_progress", "completed", "failed"]
    progress: int = Field(description="0 to 99 from finished steps; 100 once the video is stored.")
    created_at: int = Field(description="Unix seconds.")
    completed_at: int | None = None
    expires_at: int | None = Field(None, description="From then on record and files may be deleted.")
    model: str
    prompt: str
    seconds: str
    size: str
    error: ErrorView | None = None
    remixed_from_video_id: str | None = None
    extended_from_video_id: str | None = None
    reproduces_video_id: str | None = None
    asked_as: dict[str, str] = Field(
        description="What you wrote where the operator lets a foreign name or value stand for ours."
    )

    state: State
    stage: Stage | None = None
    step: int = 0
    steps: int = 0
    attempts: int = Field(description="Tries so far; 0 until a worker claims the job.")
    attempt_log: list[AttemptView] = Field(description="The last 20 tries, in order.")
    cancel_requested: bool
    started_at: int | None = None
    start_by: int | None = Field(None, description="Unix seconds; the job expires unless begun by then.")
    finish_by: int | None = Field(None, description="Unix seconds; the job expires unless done by then.")
    num_frames: int = Field(description="Of the whole film.")
    source_frames: int | None = Field(
        None, description="An extension's: so many at its beginning are the old video's."
    )
    fps: int
    seed: int
    negative_prompt: str
    num_inference_steps: int
    guidance_scale: float
    gamma: float
    sampler: str
    priority: int
    fit: str | None = Field(None, description="How `input_reference` met the size; null without one.")
    webhook_url: str | None = None
    webhook_events: list[str] = Field(description="What `webhook_url` hears of; empty: all events.")
    metadata: dict[str, str]
    usage: dict[str, float | str] = Field(
        description="Of a finished video, as its worker measured it: seconds, GPU seconds and bytes by name."
    )
    video: FileView | None = None
    thumbnail: FileView | None = None
    spritesheet: FileView | None = Field(None, description="`frames` small frames, four a row, without gaps.")
    keyframe: FileView | None = None
    gate: GateView | None = Field(None, description="Only of jobs asked for with `pause_after`.")
    receipt: Receipt | None = Field(None, description="Of a finished video: what decided about its frames.")
    reproduction: Reproduction | None = Field(
        None, description="What came of a job of `POST /videos/{id}/reproduce`, once it is finished."
    )
    warnings: list[str] = Field(
        description="What you should know: words of the prompt that the model does not know, no live worker."
    )
    queue: QueueView | None = Field(None, description="Only while the job waits.")
    urls: UrlsView


class VideoListView(BaseModel):
    """One page of jobs; ask for the next with after=<last_id>."""

    model_config = ConfigDict(title="VideoList")

    object: Literal["list"] = "list"
    data: list[VideoView]
    has_more: bool
    first_id: str | None
    last_id: str | None


class DeletedView(BaseModel):
    """The answer to a DELETE."""

    model_config = ConfigDict(title="VideoDeleted")

    id: str
    deleted: Literal[True] = True
    object: Literal["video.deleted"] = "video.deleted"


@dataclass(frozen=True)
class Outlook:
    """What a waiting job has before it, and anything its owner should know."""

    queue: QueueView | None = None
    warnings: tuple[str, ...] = ()


NO_OUTLOOK, NO_LINKS = Outlook(), Links()


def outlook_of(
    job: VideoJob,
    snapshot: Snapshot,
    catalogue: Mapping[str, CatalogueEntry],
    forecast: Forecast | None = None,
) -> Outlook:
    """Queue and warnings of a job that waits; nothing for any other."""
    if job.state is not State.QUEUED:
        return NO_OUTLOOK
    depth = snapshot.pools.get(job.pool)
    queue = QueueView(
        pool=job.pool,
        ready=depth.ready if depth else 0,
        ahead=forecast.ahead if forecast else None,
        eta_p50_seconds=forecast.p50_s if forecast else None,
        eta_p90_seconds=forecast.p90_s if forecast else None,
        live_workers=depth.live_workers if depth else 0,
    )
    entry = catalogue.get(job.request.model)
    if entry is not None and entry.live_workers > 0:
        return Outlook(queue)
    return Outlook(queue, (f"no worker serves {job.request.model} at the moment; the job waits for one",))


def video_view(
    job: VideoJob, base: str, outlook: Outlook | None = None, links: Links | None = None
) -> VideoView:
    """The public face of a job. `base` is what routes are appended to; without `links` none are shown."""
    return VideoView.model_validate(video_fields(job, base, outlook or NO_OUTLOOK, links or NO_LINKS))


def video_fields(job: VideoJob, base: str, outlook: Outlook, links: Links) -> dict[str, object]:
    """Every field of VideoView, in its order and of its types: to be written as JSON without another look.

    To validate them takes as long as to write them, and whoever polls sees nothing of it.
    """
    request, row = job.request, TABLE[job.state]
    place = f"{base}/videos/{job.id}"
    return {
        "id": job.id,
        "object": "video",
        "status": row.openai_status,
        "progress": job.progress,
        "created_at": int(job.created_at),
        "completed_at": _seconds(job.completed_at),
        "expires_at": _seconds(job.expires_at),
        "model": request.model,
        "prompt": request.prompt,
        "seconds": f"{request.film_frames / request.fps:g}",
        "size": f"{request.width}x{request.height}",
        "error": _error(job),
        "remixed_from_video_id": request.remixed_from,
        "extended_from_video_id": request.extends.video_id if request.extends else None,
        "reproduces_video_id": request.reproduces.video_id if request.reproduces else None,
        "asked_as": request.asked_as,
        "state": job.state,
        "stage": job.stage,
        "step": job.step,
        "steps": job.steps,
        "attempts": job.attempt,
        "attempt_log": job.tries,
        "cancel_requested": job.cancel_requested,
        "started_at": _seconds(job.started_at),
        "start_by": _seconds(job.start_by),
        "finish_by": _seconds(job.finish_by),
        "num_frames": request.film_frames,
        "source_frames": request.extends.frames if request.extends else None,
        "fps": request.fps,
        "seed": request.seed,
        "negative_prompt": request.negative_prompt,
        "num_inference_steps": request.num_inference_steps,
        "guidance_scale": request.guidance_scale,
        "gamma": request.gamma,
        "sampler": request.sampler,
        "priority": request.priority,
        "fit": request.input_picture.fit if request.input_picture else None,
        "webhook_url": request.webhook_url,
        "webhook_events": list(request.webhook_events),
        "metadata": request.metadata,
        "usage": job.usage,
        "video": _file(job.artifact),
        "thumbnail": _file(job.artifact.thumbnail if job.artifact else None),
        "spritesheet": _file(job.artifact.spritesheet if job.artifact else None),
        "keyframe": _file(job.keyframe),
        "gate": gate_view(job, place, links.candidates),
        "receipt": job.artifact.receipt if job.artifact else None,
        "reproduction": job.artifact.reproduction if job.artifact else None,
        "warnings": [*job.warnings, *outlook.warnings],
        "queue": outlook.queue,
        "urls": addresses(place, links),
    }


def _error(job: VideoJob) -> ErrorView | None:
    if job.failure is not None:
        failure = job.failure
        return ErrorView(code=failure.code, message=failure.message, retryable=failure.retryable)
    row = TABLE[job.state]
    if row.error_code is None:
        return None
    sentence = "the job was cancelled" if job.state is State.CANCELLED else row.meaning
    return ErrorView(code=row.error_code, message=sentence, retryable=True)


def _file(artifact: Artifact | None) -> FileView | None:
    return None if artifact is None else FileView.model_validate(artifact, from_attributes=True)


def _seconds(moment: float | None) -> int | None:
    return None if moment is None else int(moment)
