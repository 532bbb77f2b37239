"""What the HTTP API answers, as the client hands it on: videos and refusals."""

from collections.abc import Mapping
from typing import Any, Literal, Self, TypedDict

import httpx
from pydantic import BaseModel, ConfigDict, Field, ValidationError

_FINAL = frozenset({"completed", "failed"})


class MicroCinemaError(Exception):
    """Anything this client raises.

    MicroCinemaError
    ├── Unreachable        no answer, for as long as the client was patient
    ├── Unintelligible     an answer, but not one of this API
    ├── RenderFailed       the job ended without a video
    └── RequestFailed      the gateway answered with a problem
        ├── InvalidRequest     400, 413, 415, 416, 422: asking again will not help
        ├── NotFound           404, 410
        ├── Conflict           409: not now, for example content before the end
        └── Unavailable        429, 503: full or away, still so after every retry
    """


class Unreachable(MicroCinemaError):
    """No answer from the gateway."""


class Unintelligible(MicroCinemaError):
    """Something else answers at this address, or another version of the gateway."""


class RequestFailed(MicroCinemaError):
    """The gateway answered with a problem (RFC 9457); the message is its own sentence."""

    def __init__(self, status: int, problem: Mapping[str, Any], request_id: str | None) -> None:
        self.status = status
        self.problem = problem
        self.request_id = request_id
        said = problem.get("detail") or problem.get("title") or "no explanation"
        named = f" (request {request_id})" if request_id else ""
        super().__init__(f"HTTP {status}: {said}{named}")


class InvalidRequest(RequestFailed):
    """The request itself is wrong."""


class NotFound(RequestFailed):
    """There is no such thing, or no longer."""


class Conflict(RequestFailed):
    """Right, but not in the job's present state."""


class Unavailable(RequestFailed):
    """The queue is full or a part of the service is away."""


_REFUSALS: Mapping[int, type[RequestFailed]] = {
    **dict.fromkeys((400, 413, 415, 416, 422), InvalidRequest),
    **dict.fromkeys((404, 410), NotFound),
    409: Conflict,
    **dict.fromkeys((429, 503), Unavailable),
}


class VideoError(BaseModel):
    """Why there is no video: a code to act on and a sentence to read."""

    model_config = ConfigDict(frozen=True)

    code: str
    message: str


class RenderFailed(MicroCinemaError):
    """The job ended as failed, cancelled or expired."""

    def __init__(self, video_id: str, state: str, error: VideoError | None) -> None:
        self.video_id = video_id
        self.error = error
        reason = f": {error.message} ({error.code})" if error else ""
        super().__init__(f"{video_id} {state}{reason}")


class Video(BaseModel):
    """A job as the API shows it; fields that are not named here are kept as they came.

    `status` is OpenAI's word (queued, in_progress, completed, failed), `state` the exact one. `progress` is
    0 to 100, and 100 only for a finished video. `fps` is frames per second.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    id: str
    status: str
    state: str
    progress: int = Field(ge=0, le=100)
    stage: str | None = None
    prompt: str | None = None
    num_frames: int
    fps: int
    seed: int
    error: VideoError | None = None
    warnings: tuple[str, ...] = ()

    @property
    def awaits_approval(self) -> bool:
        """Whether it stopped behind its keyframe and goes on when its owner has chosen."""
        return self.state == "awaiting_approval"

    @property
    def over(self) -> bool:
        """Whether nothing will change any more."""
        return self.status in _FINAL

    def raise_for_failure(self) -> Self:
        """Raises RenderFailed if the job ended without a video; otherwise the video itself."""
        if self.status == "failed":
            raise RenderFailed(self.id, self.state, self.error)
        return self


def read_video(answer: object) -> Video:
    """The video in an answer. Raises Unintelligible."""
    try:
        return Video.model_validate(answer)
    except ValidationError as error:
        missed = ", ".join(".".join(map(str, fault["loc"])) for fault in error.errors()) or "nothing"
        raise Unintelligible(f"the answer is no video of this API (look at: {missed})") from None


class VideoOptions(TypedDict, total=False):
    """What may be asked besides the prompt; each default and bound is the model's (`Client.models`)."""

    model: str
    size: str
    seconds: float
    num_frames: int
    fps: int
    seed: int
    negative_prompt: str
    num_inference_steps: int
    guidance_scale: float
    gamma: float
    sampler: str
    priority: int
    start_by: str | float
    finish_by: str | float
    expires_after: str | float
    fit: Literal["exact", "cover", "contain"]
    pause_after: Literal["image"]
    candidates: int
    approve_within: str | float
    webhook_url: str
    metadata: dict[str, str]


def refusal(answer: httpx.Response) -> RequestFailed:
    """The exception that an unsuccessful answer stands for; its body must have been read."""
    try:
        problem = answer.json()
    except ValueError:  # a proxy's page, not ours
        problem = {"title": answer.reason_phrase}
    kind = _REFUSALS.get(answer.status_code, RequestFailed)
    named = problem if isinstance(problem, dict) else {}
    return kind(answer.status_code, named, answer.headers.get("x-request-id"))
