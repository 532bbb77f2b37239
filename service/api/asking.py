"""What all calls that ask for a video have in common in OpenAPI: body, headers, answers and refusals."""

from typing import Annotated, Any

from fastapi import Header
from pydantic import BaseModel

from service.api.views import VideoView
from service.fields.video import PICTURE_FIELD
from service.refusals import (
    BodyTooLarge,
    ContentUnavailable,
    IdempotencyConflict,
    IntakePaused,
    InvalidFields,
    NoModelYet,
    QueueFull,
    QuotaExceeded,
    RecordUnavailable,
    Refusal,
    ServiceBusy,
    UnknownModel,
    UnreadableBody,
    UnsupportedBody,
    UploadTooSlow,
)

#: Of a body that names a video, also where no job comes of it.
BODY_REFUSALS: tuple[type[Refusal], ...] = (
    UnreadableBody,
    UnknownModel,
    UploadTooSlow,
    BodyTooLarge,
    UnsupportedBody,
    InvalidFields,
    RecordUnavailable,
    NoModelYet,
    ServiceBusy,
)
#: Of a request that would become a job.
JOB_REFUSALS: tuple[type[Refusal], ...] = (
    *BODY_REFUSALS,
    IdempotencyConflict,
    QueueFull,
    QuotaExceeded,
    IntakePaused,
    ContentUnavailable,
)

_HEADERS = {
    "idempotency-key": "The same key and request again answer with the same job.",
    "prefer": ("`wait=20`: answer when the job has ended, after so many seconds (60 at most) anyway."),
    "x-stainless-retry-count": (
        "Sent by OpenAI's clients. Above 0, the job of the same body a minute ago answers."
    ),
}
IdempotencyKey = Annotated[str | None, Header(description=_HEADERS["idempotency-key"])]
Prefer = Annotated[str | None, Header(description=_HEADERS["prefer"])]
RetryCount = Annotated[str | None, Header(description=_HEADERS["x-stainless-retry-count"])]

#: The same for a route that reads them itself: FastAPI's reading of them and the two dependencies were an
#: eighth of a POST, in a profile.
HEADER_PARAMETERS: list[dict[str, Any]] = [
    {
        "name": name,
        "in": "header",
        "required": False,
        "schema": {
            "anyOf": [{"type": "string"}, {"type": "null"}],
            "description": told,
            "title": name.title(),
        },
        "description": told,
    }
    for name, told in _HEADERS.items()
]

#: A picture in JSON, in OpenAI's shape or as the URL alone.
_URL = {
    "type": "string",
    "pattern": "^(https?://[!-~]+|data:image/(png|jpe?g|webp);base64,[A-Za-z0-9+/]*={0,2})$",
}
_REFERENCE: dict[str, Any] = {
    "anyOf": [
        {
            "type": "object",
            "properties": {"image_url": _URL},
            "required": ["image_url"],
            "additionalProperties": False,
        },
        _URL,
    ]
}

#: What to do with an accepted job's id: tools that read OpenAPI follow these from one call to the next.
_LINKS = {
    name: {"operationId": name, "parameters": {"video_id": "$response.body#/id"}}
    for name in ("retrieve_video", "cancel_video", "download_video", "delete_video")
}
#: The two ways in which a job is accepted.
ACCEPTED: dict[int | str, dict[str, Any]] = {
    200: {
        "model": VideoView,
        "description": "The job that this Idempotency-Key made before, or one that ended while you waited.",
    },
    202: {
        "description": "Accepted: the job is on record and will be worked on.",
        "headers": {"Location": {"schema": {"type": "string"}, "description": "The job."}},
        "links": _LINKS,
    },
}


def body_of(model: type[BaseModel]) -> dict[str, Any]:
    """The `openapi_extra` of a route whose body `read_body` reads: FastAPI cannot find that by itself."""
    schema = f"#/components/schemas/{model.__name__}"
    content = {
        "application/json": {"schema": {"$ref": schema}},
        "multipart/form-data": {"schema": {"$ref": f"{schema}Form"}},
    }
    return {"requestBody": {"required": True, "content": content}}


def schemas_of(model: type[BaseModel], picture: str | None) -> dict[str, Any]:
    """The components that `body_of` refers to; `picture` says what the client's own is for
    (None: there may be none)."""
    fields = model.model_json_schema(ref_template="#/components/schemas/{model}")
    parts = fields.pop("$defs", {})
    form = {name: part for name, part in fields.items() if name != "examples"}
    if picture is None:
        return {model.__name__: fields, f"{model.__name__}Form": form, **parts}
    file = {"type": "string", "format": "binary", "description": f"{picture} A file, or `image_url` as JSON."}
    form["properties"] = {**fields["properties"], PICTURE_FIELD: file}
    fields["properties"] = {**fields["properties"], PICTURE_FIELD: {**_REFERENCE, "description": picture}}
    return {model.__name__: fields, f"{model.__name__}Form": form, **parts}
