"""Every reason for which the gateway declines a request, as an exception that knows its HTTP status.

service/api/problems.py turns one into an RFC 9457 problem that also carries OpenAI's `error` object.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from service.contracts.quota import QuotaReached
from service.contracts.remains import Remains

#: Where middlewares leave headers, by name, for whatever answer a request gets.
ANSWER_HEADERS = "microcinema.headers"
#: Where a route leaves the id of the job that a request made or found, for the line of the request.
ABOUT_JOB = "microcinema.about_job"
#: What an error repeats of a client's own value, and how many unknown fields: a body could hold a million.
SHOWN_VALUE_CHARS, MAX_UNKNOWN_NAMED = 80, 8


def shown(value: object) -> str:
    """The client's value as an error repeats it: printable ASCII, at most SHOWN_VALUE_CHARS characters.

    ASCII, because a value may hold lone surrogates that no answer could carry.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 256:
        return f"an integer of {value.bit_length()} bits"  # Python refuses to print very long ones
    try:
        written = ascii(value)
    except RecursionError:  # JSON is read from a shallower stack than it is printed from
        return f"a deeply nested {type(value).__name__}"
    if len(written) <= SHOWN_VALUE_CHARS:
        return written
    length = f" ({len(value)} characters)" if isinstance(value, str) else ""
    return f"{written[:SHOWN_VALUE_CHARS]}...{length}"


@dataclass(frozen=True)
class FieldFault:
    """One field that is out of its bound: its name, the value as sent, the bound, and a sentence."""

    field: str
    value: str
    bound: str
    message: str

    @classmethod
    def of(cls, field: str, value: object, bound: str) -> "FieldFault":
        """The usual sentence: `fps must be 1 to 30, got 99`."""
        return cls(field, shown(value), bound, f"{field} must be {bound}, got {shown(value)}")

    @classmethod
    def unknown(cls, name: str, value: object, known: Iterable[str]) -> "FieldFault":
        """A field that there is none of, whose name may be of any characters and any length."""
        names, told = ", ".join(known), shown(name).strip("'\"")
        return cls(told, shown(value), f"one of {names}", f"unknown field {told}; known fields: {names}")


class Refusal(Exception):
    """A declined request. Subclasses fix status, code and title; `detail` is the sentence for this one."""

    status: ClassVar[int] = 400
    code: ClassVar[str] = "refused"
    title: ClassVar[str] = "Request refused"
    retry_after_s: int | None = None

    def __init__(self, detail: str, *, param: str | None = None, headers: Mapping[str, str] | None = None):
        super().__init__(detail)
        self.detail = detail
        self.param = param
        self.headers = dict(headers or {})
        self.faults: tuple[FieldFault, ...] = ()


class UnreadableBody(Refusal):
    """The body is not well-formed JSON or multipart/form-data."""

    code, title = "unreadable_body", "Body cannot be read"


class Unauthenticated(Refusal):
    """No API key, or one that opens nothing. The code is OpenAI's."""

    status, code, title = 401, "invalid_api_key", "API key missing, unknown or revoked"


class MissingScope(Refusal):
    """The API key is good, but not for this."""

    status, code, title = 403, "missing_scope", "API key without the scope for this"


class BadSignature(Refusal):
    """A signed link that has expired or that we did not sign."""

    status, code, title = 403, "bad_signature", "Link expired or not signed by this service"


class UnknownRoute(Refusal):
    """No such path."""

    status, code, title = 404, "unknown_route", "No such path"


class UnknownVideo(Refusal):
    """No job of this id, or a deleted one."""

    status, code, title = 404, "unknown_video", "No such video"


class UnknownEndpoint(Refusal):
    """No webhook endpoint of this id, or a deleted one."""

    status, code, title = 404, "unknown_webhook_endpoint", "No such webhook endpoint"


class UnknownDelivery(Refusal):
    """No webhook delivery of this id, or one whose record is over."""

    status, code, title = 404, "unknown_webhook_delivery", "No such webhook delivery"


class NoSuchModel(Refusal):
    """No worker has ever announced a model of this name, and it stands for none. The code is OpenAI's."""

    status, code, title = 404, "model_not_found", "No model of this name"


class NoContent(Refusal):
    """The job ended without the file that was asked for."""

    status, code, title = 404, "no_content", "This job made no such file"


class WrongMethod(Refusal):
    """The path exists, the method does not."""

    status, code, title = 405, "wrong_method", "Method not allowed"


class UploadTooSlow(Refusal):
    """The body did not arrive in time."""

    status, code, title = 408, "upload_too_slow", "Body arrived too slowly"


class ContentNotReady(Refusal):
    """The file does not exist yet."""

    status, code, title = 409, "content_not_ready", "Not ready yet"


class AlreadyFinished(Refusal):
    """A job that has ended cannot be cancelled."""

    status, code, title = 409, "already_finished", "Job has already ended"


class NotAwaitingApproval(Refusal):
    """Nothing of this job waits for its owner to choose."""

    status, code, title = 409, "not_awaiting_approval", "Job does not await approval"


class TooManyEndpoints(Refusal):
    """The owner has as many webhook endpoints as it may."""

    status, code, title = 409, "too_many_webhook_endpoints", "No room for another webhook endpoint"


class EndpointDisabled(Refusal):
    """Nothing is sent to a disabled webhook endpoint."""

    status, code, title = 409, "webhook_endpoint_disabled", "Webhook endpoint is disabled"


class ContentGone(Refusal):
    """The file existed and has been deleted, by the client or after its retention."""

    status, code, title = 410, "content_gone", "File is gone"


class VideoGone(Refusal):
    """The job's retention is over: record and files have been deleted."""

    status, code, title = 410, "video_gone", "Video is gone"

    def __init__(self, detail: str, remains: Remains | None = None):
        super().__init__(detail)
        self.remains = remains


class BodyTooLarge(Refusal):
    """The body is longer than the gateway accepts."""

    status, code, title = 413, "body_too_large", "Body too large"


class UnsupportedBody(Refusal):
    """A content type other than JSON or multipart/form-data."""

    status, code, title = 415, "unsupported_body", "Unsupported content type"


class UnsatisfiableRange(Refusal):
    """A Range header that this file cannot satisfy (RFC 9110 section 14.2)."""

    status, code, title = 416, "unsatisfiable_range", "Range not satisfiable"


class InvalidFields(Refusal):
    """One or more fields are out of their bounds."""

    status, code, title = 422, "invalid_fields", "Invalid fields"

    def __init__(self, faults: Sequence[FieldFault]):
        super().__init__("; ".join(fault.message for fault in faults), param=faults[0].field)
        self.faults = tuple(faults)


class UnknownModel(Refusal):
    """No worker has ever announced a model of this name. On a POST a 404 would blame the address."""

    status, code, title = 422, "unknown_model", "No such model"

    def __init__(self, fault: FieldFault):
        super().__init__(fault.message, param=fault.field)
        self.faults = (fault,)


class IdempotencyConflict(Refusal):
    """An Idempotency-Key that already belongs to another request."""

    status, code, title = 422, "idempotency_conflict", "Idempotency-Key was used for another request"


class QueueFull(Refusal):
    """The queue is at its limit."""

    status, code, title, retry_after_s = 429, "queue_full", "Queue is full", 2


class TooManyListeners(Refusal):
    """As many streams of events are open as may be, of this owner or in all."""

    status, code, title, retry_after_s = 429, "too_many_listeners", "Too many streams of events", 5


class QuotaExceeded(Refusal):
    """The owner has used what it may. The code is OpenAI's; libraries must not repeat it by themselves."""

    status, code, title = 429, "insufficient_quota", "Quota is used up"

    def __init__(self, reached: QuotaReached):
        super().__init__(reached.told)
        self.reached = reached


class RateLimited(Refusal):
    """The caller asks too often. The code is OpenAI's."""

    status, code, title = 429, "rate_limit_exceeded", "Too many requests from this caller"

    def __init__(self, detail: str, retry_after_s: int, headers: Mapping[str, str]):
        super().__init__(detail, headers=headers)
        self.retry_after_s = retry_after_s


class ServiceBusy(Refusal):
    """Too many requests are in progress in this process."""

    status, code, title, retry_after_s = 503, "service_busy", "Too many requests at once", 1


class IntakePaused(Refusal):
    """An operator has closed the intake for a while; all that was accepted goes on."""

    status, code, title, retry_after_s = 503, "intake_paused", "Intake is paused", 30


class NoModelYet(Refusal):
    """No worker has announced any model, so no bound can be checked."""

    status, code, title, retry_after_s = 503, "no_model_yet", "No model is served yet", 5


class RecordUnavailable(Refusal):
    """Redis, which holds the jobs' records, does not answer, or its memory or disk is full."""

    status, code, title, retry_after_s = 503, "record_unavailable", "Job records are unavailable", 2


class ContentUnavailable(Refusal):
    """The storage that holds the files does not answer."""

    status, code, title, retry_after_s = 503, "storage_unavailable", "Storage is unavailable", 5
