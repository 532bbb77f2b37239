"""Refusals as clients see them: RFC 9457 problems that also carry OpenAI's `error` object."""

import math
from collections.abc import Collection
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from service.contracts.lifecycle import TABLE, State
from service.contracts.quota import Quota
from service.contracts.remains import Remains
from service.refusals import (
    FieldFault,
    InvalidFields,
    QuotaExceeded,
    Refusal,
    UnknownRoute,
    UnreadableBody,
    VideoGone,
    WrongMethod,
    shown,
)

PROBLEM_TYPE = "application/problem+json"


class FaultView(BaseModel):
    """One field out of its bound."""

    field: str
    value: str
    bound: str
    message: str


class OpenAIError(BaseModel):
    """The error object of OpenAI's API, so that its clients show the right sentence."""

    message: str
    type: str
    code: str
    param: str | None = None


class RemainsView(BaseModel):
    """What is still known of a video whose time is over; its prompt, files and metadata are not."""

    status: str = Field(description="OpenAI's word for how it ended: `completed` or `failed`.")
    state: State
    model: str
    created_at: int
    completed_at: int
    expired_at: int = Field(description="Unix seconds, as the others: when its time was over.")

    @classmethod
    def of(cls, remains: Remains) -> Self:
        """As the API writes states and times."""
        return cls(
            status=TABLE[remains.state].openai_status,
            state=remains.state,
            model=remains.model,
            created_at=int(remains.created_at),
            completed_at=int(remains.completed_at),
            expired_at=int(remains.expired_at),
        )


class ProblemView(BaseModel):
    """RFC 9457: `type`, `title`, `status`, `detail`, `instance`; the rest are extensions of ours."""

    model_config = ConfigDict(
        title="Problem",
        json_schema_extra={
            "examples": [
                {
                    "type": "urn:microcinema:problem:invalid_fields",
                    "title": "Invalid fields",
                    "status": 422,
                    "detail": "fps must be 1 to 30, got 99",
                    "instance": "/videos",
                    "code": "invalid_fields",
                    "request_id": "req_0190c3",
                    "errors": [
                        {
                            "field": "fps",
                            "value": "99",
                            "bound": "1 to 30",
                            "message": "fps must be 1 to 30, got 99",
                        }
                    ],
                    "error": {
                        "message": "fps must be 1 to 30, got 99",
                        "type": "invalid_request_error",
                        "code": "invalid_fields",
                        "param": "fps",
                    },
                }
            ]
        },
    )

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str = Field(description="The last part of `type`, for programs.")
    request_id: str
    errors: list[FaultView] = Field([], description="Every field that is out of its bound.")
    error: OpenAIError
    quota: Quota | None = Field(None, description="Which quota is used up; the next three belong to it.")
    used: float | None = None
    limit: float | None = None
    resets_at: int | None = Field(
        None, description="Unix seconds, the end of the window; null where only ending jobs make room."
    )
    video: RemainsView | None = Field(None, description="Of `video_gone`, for 30 days and for its owner.")


def problem_view(refusal: Refusal, *, instance: str, request_id: str) -> ProblemView:
    """The problem document of one refusal; `instance` is the path that was asked for."""
    view = ProblemView(
        type=f"urn:microcinema:problem:{refusal.code}",
        title=refusal.title,
        status=refusal.status,
        detail=refusal.detail,
        instance=instance,
        code=refusal.code,
        request_id=request_id,
        errors=[
            FaultView(field=fault.field, value=fault.value, bound=fault.bound, message=fault.message)
            for fault in refusal.faults
        ],
        error=OpenAIError(
            message=refusal.detail, type=_openai_type(refusal.status), code=refusal.code, param=refusal.param
        ),
    )
    return view.model_copy(update=_extensions(refusal))


def _extensions(refusal: Refusal) -> dict[str, Any]:
    """What problems of its kind alone have."""
    match refusal:
        case QuotaExceeded(reached=reached):
            resets_at = None if reached.resets_at is None else math.ceil(reached.resets_at)
            used = {"quota": reached.quota, "used": reached.used, "limit": reached.limit}
            return {**used, "resets_at": resets_at}
        case VideoGone(remains=Remains() as remains):
            return {"video": RemainsView.of(remains)}
        case _:
            return {}


def problem_response(refusal: Refusal, *, instance: str, request_id: str) -> Response:
    """The answer to a refused request. OpenAI's clients obey `x-should-retry` and both retry headers."""
    headers = dict(refusal.headers)
    if refusal.retry_after_s is not None:
        headers["retry-after"] = str(refusal.retry_after_s)
        headers["retry-after-ms"] = str(refusal.retry_after_s * 1000)
        headers["x-should-retry"] = "true"
    else:
        headers["x-should-retry"] = "false"  # or they would send every 408, 409 and 5xx again
    view = problem_view(refusal, instance=instance, request_id=request_id)
    return Response(
        view.model_dump_json(exclude_unset=True), refusal.status, headers, media_type=PROBLEM_TYPE
    )


class InternalError(Refusal):
    """A defect of ours; the log line with the same request id has the trace."""

    status, code, title = 500, "internal", "Internal error"


def refusal_of_http(error: HTTPException, request: Request, methods: Collection[str]) -> Refusal:
    """What the router itself declines: an unknown path, a wrong method (of these `methods`), a malformed
    request."""
    asked = f"{request.method} {shown(request.url.path)}"
    if error.status_code == 404:
        return UnknownRoute(f"{asked}: no such path")
    if error.status_code == 405:
        allowed = ", ".join(sorted(methods))
        return WrongMethod(f"{asked}: this path has {allowed}", headers={"Allow": allowed})
    if error.status_code < 500:
        return UnreadableBody(str(error.detail))
    return InternalError(str(error.detail))


def refusal_of_validation(errors: list[dict[str, Any]]) -> InvalidFields:
    """Faults of query parameters and headers, as FastAPI found them."""
    return InvalidFields([_query_fault(error) for error in errors])


_BOUNDS = {
    "missing": "given",
    "int_parsing": "a whole number",
    "greater_than_equal": "at least {ge}",
    "less_than_equal": "at most {le}",
    "enum": "one of {expected}",
}


def _query_fault(error: dict[str, Any]) -> FieldFault:
    """FastAPI's finding in the words of our other faults; a kind that is not listed keeps its own words."""
    name, value = str(error["loc"][-1]), error.get("input")
    if error["type"] not in _BOUNDS:
        bound = str(error["msg"])
        return FieldFault(name, shown(value), bound, f"{name}: {bound}, got {shown(value)}")
    return FieldFault.of(name, value, _BOUNDS[error["type"]].format(**error.get("ctx", {})))


def _openai_type(status: int) -> str:
    if status == 429:
        return "rate_limit_error"
    return "server_error" if status >= 500 else "invalid_request_error"


def documented(*refusals: type[Refusal]) -> dict[int | str, dict[str, Any]]:
    """The `responses=` of a route that may refuse in these ways."""
    by_status: dict[int | str, dict[str, Any]] = {}
    for refusal in refusals:
        known = by_status.get(refusal.status)
        text = f"{known['description']}; {refusal.title}" if known else refusal.title
        by_status[refusal.status] = {
            "description": text,
            "content": {PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
    return by_status
