"""What a client may say of a webhook endpoint."""

from collections.abc import Mapping
from typing import Annotated, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, WithJsonSchema

from service.contracts.webhook_endpoint import EVENT_TYPES
from service.fields.readers import read_event_types
from service.fields.shapes import read_shape
from service.fields.video import Text, WebhookUrl
from service.refusals import FieldFault, InvalidFields

MAX_DESCRIPTION_CHARS = 200
_EXAMPLE_URL = "https://example.com/microcinema"


Events = Annotated[
    tuple[str, ...],
    BeforeValidator(lambda value: read_event_types(value, EVENT_TYPES)),
    WithJsonSchema({"type": "array", "items": {"enum": list(EVENT_TYPES)}}),
]


class ChangeEndpoint(BaseModel):
    """What shall be different; what is left out, or null, stays."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        json_schema_extra={"examples": [{"enabled": False}, {"events": ["video.completed"]}]},
    )

    url: WebhookUrl | None = Field(None, description="Where the signed POSTs go.")
    events: Events | None = Field(None, description="Event types to tell of; empty: all.")
    description: Text | None = Field(None, max_length=MAX_DESCRIPTION_CHARS)
    event_types: Events | None = Field(None, description="OpenAI's word for `events`.")
    name: Text | None = Field(None, max_length=MAX_DESCRIPTION_CHARS, description="And for `description`.")
    enabled: StrictBool | None = Field(None, description="Enabling forgets past failures.")


class CreateEndpoint(BaseModel):
    """A URL that hears of all jobs of its owner."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        json_schema_extra={
            "required": ["url"],
            "examples": [{"url": _EXAMPLE_URL, "events": ["video.completed", "video.failed"]}],
        },
    )

    url: WebhookUrl | None = Field(None, description="Where the signed POSTs go.")
    events: Events | None = Field(None, description="Event types to tell of; left out or empty: all.")
    description: Text | None = Field(None, max_length=MAX_DESCRIPTION_CHARS)
    event_types: Events | None = Field(None, description="OpenAI's word for `events`.")
    name: Text | None = Field(None, max_length=MAX_DESCRIPTION_CHARS, description="And for `description`.")


class PingEndpoint(BaseModel):
    """What OpenAI's clients name when they test an endpoint."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    event_type: Annotated[
        str | None,
        BeforeValidator(lambda value: read_event_types([value], EVENT_TYPES)[0]),
        WithJsonSchema({"enum": list(EVENT_TYPES)}),
    ] = Field(None, description="The ping is sent whatever it says; the answer then waits for the first try.")


class RotateSecret(BaseModel):
    """How OpenAI's clients change a secret."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    keep_old_secret_active_for_24_hours: StrictBool | None = Field(
        None, description="Left out or false: the old secret signs nothing more."
    )


Asked = TypeVar("Asked", CreateEndpoint, ChangeEndpoint)


def read_new_endpoint(given: Mapping[str, object]) -> CreateEndpoint:
    """Raises InvalidFields."""
    if given.get("url") is None:
        raise InvalidFields([FieldFault("url", "", "an http or https URL", "url is required")])
    return _in_our_words(read_shape(CreateEndpoint, given))


def read_changes(given: Mapping[str, object]) -> ChangeEndpoint:
    """Raises InvalidFields."""
    return _in_our_words(read_shape(ChangeEndpoint, given))


def _in_our_words(asked: Asked) -> Asked:
    """Raises InvalidFields where both words of one thing are given."""
    words = {"event_types": "events", "name": "description"}
    told = {theirs: ours for theirs, ours in words.items() if getattr(asked, theirs) is not None}
    faults = [
        FieldFault.of(theirs, getattr(asked, theirs), f"left out beside {ours}")
        for theirs, ours in told.items()
        if getattr(asked, ours) is not None
    ]
    if faults:
        raise InvalidFields(faults)
    return asked.model_copy(update={ours: getattr(asked, theirs) for theirs, ours in told.items()})
