"""What the client raises, and which answer of the gateway stands for which exception."""

from collections.abc import Mapping
from typing import Any

import httpx
from pydantic import BaseModel, ConfigDict, ValidationError


class MicroCinemaError(Exception):
    """Anything this client raises.

    MicroCinemaError
    ├── Unreachable        no answer, for as long as the client was patient
    ├── Unintelligible     an answer, but not one of this API
    ├── RenderFailed       the job ended without a video
    └── RequestFailed      the gateway answered with a problem
        ├── InvalidRequest     400, 413, 415, 416, 422: asking again will not help
        ├── NotAllowed         401, 403: no API key, or one that may not
        ├── NotFound           404, 410
        ├── Conflict           409: not now, for example content before the end
        └── Unavailable        429, 503: full or away, still so after every retry
    """


class Unreachable(MicroCinemaError):
    """No answer from the gateway."""


class Unintelligible(MicroCinemaError):
    """Something else answers at this address, or another version of the gateway."""


class FieldFault(BaseModel):
    """A field out of its bound: `fps must be 1 to 30, got 99`."""

    model_config = ConfigDict(frozen=True)

    field: str
    value: str
    bound: str
    message: str


class RequestFailed(MicroCinemaError):
    """The gateway answered with a problem (RFC 9457); the message is its own sentence.

    `code` is a stable word for programs ("invalid_fields", "queue_full"), None where something else than the
    gateway answered.
    """

    def __init__(self, status: int, problem: Mapping[str, Any], request_id: str | None) -> None:
        self.status = status
        self.problem = problem
        self.request_id = request_id
        self.code: str | None = problem.get("code")
        said = problem.get("detail") or problem.get("title") or "no explanation"
        named = f" (request {request_id})" if request_id else ""
        super().__init__(f"HTTP {status}: {said}{named}")

    @property
    def faults(self) -> tuple[FieldFault, ...]:
        """Every field that is out of its bound, with the value and the bound."""
        try:
            return tuple(FieldFault.model_validate(each) for each in self.problem.get("errors", ()))
        except (ValidationError, TypeError):
            return ()


class InvalidRequest(RequestFailed):
    """The request itself is wrong."""


class NotAllowed(RequestFailed):
    """The API key is missing, unknown, or its scopes do not reach so far."""


class NotFound(RequestFailed):
    """There is no such thing, or no longer."""


class Conflict(RequestFailed):
    """Right, but not in the job's present state."""


class Unavailable(RequestFailed):
    """The queue is full or a part of the service is away."""


_REFUSALS: Mapping[int, type[RequestFailed]] = {
    **dict.fromkeys((400, 413, 415, 416, 422), InvalidRequest),
    **dict.fromkeys((401, 403), NotAllowed),
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


def refusal(answer: httpx.Response) -> RequestFailed:
    """The exception that an unsuccessful answer stands for; its body must have been read."""
    try:
        problem = answer.json()
    except ValueError:  # a proxy's page, not ours
        problem = {"title": answer.reason_phrase}
    kind = _REFUSALS.get(answer.status_code, RequestFailed)
    named = problem if isinstance(problem, dict) else {}
    return kind(answer.status_code, named, answer.headers.get("x-request-id"))
