"""What the HTTP API answers, as the client hands it on. Fields that are not named here are kept as they came.

Times are Unix seconds unless said otherwise.
"""

from collections.abc import Callable
from typing import Any, Generic, Self, TypeVar

import httpx
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from service.client.errors import RenderFailed, Unintelligible, VideoError

FINAL = frozenset({"completed", "failed"})
"""Statuses behind which nothing changes."""

Noun = TypeVar("Noun", bound=BaseModel)


class Answered(BaseModel):
    """What the gateway says; fields of tomorrow come along."""

    model_config = ConfigDict(frozen=True, extra="allow")


class Queue(Answered):
    """What waits before a job; `eta_p50_seconds` counts from the answer until the video is there."""

    ahead: int | None = None
    eta_p50_seconds: float | None = None
    eta_p90_seconds: float | None = None
    live_workers: int = 0


class Attempt(Answered):
    """One try by one worker. `outcome` is the job's state behind it: `queued` means that it waits again."""

    number: int
    worker: str
    started_at: float
    ended_at: float | None = None
    outcome: str | None = None
    reason: str | None = None


class Candidate(Answered):
    """One keyframe to choose from; `content?variant=image&candidate=index` is its picture."""

    index: int
    seed: int
    width: int
    height: int
    sha256: str


class Gate(Answered):
    """The stop between picture and video of a job asked for with `pause_after`."""

    count: int
    approve_by: int | None = None
    candidates: tuple[Candidate, ...] = ()
    approved: bool = False
    chosen: int | None = None


class StageReceipt(Answered):
    """One network's part in a film; `sampler` None: the model's own, which nobody chooses."""

    weight_hash: str
    dtype: str
    steps: int
    guidance_scale: float
    sampler: str | None = None


class Receipt(Answered):
    """What decided about the frames of a video; docs/api.md has all of it."""

    weight_hash: str
    frame_digest: str
    prompt: str
    seed: int
    stages: dict[str, StageReceipt] = {}
    device_class: str = ""
    batch: int = 1
    versions: dict[str, str] = {}


class Reproduction(Answered):
    """What came of making a video again. `verdict`: equal, different or incomparable."""

    verdict: str
    psnr_db: float | None = None
    changed: tuple[str, ...] = ()
    reason: str | None = None

    @property
    def in_words(self) -> str:
        """One line for people."""
        told = [] if self.psnr_db is None else [f"{self.psnr_db:g} dB apart"]
        told += [] if self.reason is None else [self.reason]
        told += [f"changed since: {', '.join(self.changed)}"] if self.changed else []
        return f"{self.verdict}: {'; '.join(told)}" if told else self.verdict


class Video(Answered):
    """A job as the API shows it.

    `status` is OpenAI's word (queued, in_progress, completed, failed), `state` the exact one. `progress` is
    0 to 100, and 100 only for a finished video. `fps` is frames per second.
    """

    id: str
    status: str
    state: str
    progress: int = Field(ge=0, le=100)
    stage: str | None = None
    model: str | None = None
    prompt: str | None = None
    size: str | None = None
    seconds: str | None = None
    num_frames: int
    fps: int
    seed: int
    created_at: int | None = None
    started_at: int | None = None
    completed_at: int | None = None
    expires_at: int | None = None
    remixed_from_video_id: str | None = None
    extended_from_video_id: str | None = None
    reproduces_video_id: str | None = None
    error: VideoError | None = None
    warnings: tuple[str, ...] = ()
    metadata: dict[str, str] = {}
    usage: dict[str, float | str] = {}
    queue: Queue | None = None
    gate: Gate | None = None
    receipt: Receipt | None = None
    reproduction: Reproduction | None = None
    attempt_log: tuple[Attempt, ...] = ()

    @property
    def awaits_approval(self) -> bool:
        """Whether it stopped behind its keyframe and goes on when its owner has chosen."""
        return self.state == "awaiting_approval"

    @property
    def over(self) -> bool:
        """Whether nothing will change any more."""
        return self.status in FINAL

    def raise_for_failure(self) -> Self:
        """Raises RenderFailed if the job ended without a video; otherwise the video itself."""
        if self.status == "failed":
            raise RenderFailed(self.id, self.state, self.error)
        return self


class Estimate(Answered):
    """What a request would cost on this fleet; null before a first video of the model was measured."""

    model: str
    size: str
    seconds: str
    num_frames: int
    fps: int
    num_inference_steps: int
    ahead: int
    gpu_seconds: float | None
    eta_p50_seconds: float | None
    eta_p90_seconds: float | None


class Model(Answered):
    """A served model. `spec` has the bounds of requests, as docs/api.md tells."""

    id: str
    live_workers: int = 0
    aliases: tuple[str, ...] = ()
    spec: dict[str, Any] = {}


class Endpoint(Answered):
    """A URL that hears of all of an owner's jobs. `secret` is there where it was made or rotated, only."""

    id: str
    url: str
    events: tuple[str, ...] = ()
    description: str = ""
    enabled: bool
    disabled_reason: str | None = None
    secret: str | None = None


class Try(Answered):
    """One try of a delivery: `status` is the receiver's HTTP status, None where no answer came."""

    number: int
    at: float
    verdict: str
    status: int | None = None
    reason: str = ""


class Delivery(Answered):
    """One event on its way to one receiver. `id` is the `webhook-id` of every try."""

    id: str
    event_id: str
    type: str
    host: str
    state: str
    tries: int
    created_at: float
    next_try_at: float | None = None
    endpoint_id: str | None = None
    log: tuple[Try, ...] = ()


class Page(Answered, Generic[Noun]):
    """A part of a list; `last_id` is where the next one begins, None behind the last."""

    data: tuple[Noun, ...]
    has_more: bool = False
    last_id: str | None = None

    @property
    def next_after(self) -> str | None:
        """What to send as `after` for the next page."""
        if not self.has_more or not self.data:
            return None
        return self.last_id or str(getattr(self.data[-1], "id", "")) or None


def reading(kind: type[Noun]) -> Callable[[httpx.Response], Noun]:
    """A reader of answers that hold one `kind`. It raises Unintelligible, naming what is not as it should."""

    def read(answer: httpx.Response) -> Noun:
        body = json_of(answer)
        try:
            return kind.model_validate(body)
        except ValidationError as error:
            missed = ", ".join(".".join(map(str, fault["loc"])) for fault in error.errors()) or "nothing"
            noun = kind.__name__.partition("[")[0].lower()
            raise Unintelligible(
                f"{answer.url} answers with no {noun} of this API (look at: {missed})"
            ) from None

    return read


def json_of(answer: httpx.Response) -> Any:
    """Raises Unintelligible."""
    try:
        return answer.json()
    except ValueError as error:
        raise Unintelligible(f"{answer.url} answers with no JSON: {error}") from error
