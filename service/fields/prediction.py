"""A prediction's body, in the words of Replicate's clients, as the fields of `POST /videos`."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from service.fields.references import Picture, read_reference
from service.fields.shapes import read_shape
from service.fields.video import PICTURE_FIELD, Name, WebhookUrl
from service.refusals import FieldFault, InvalidFields

#: Who our models belong to in the names of predictions, which are always `owner/name`.
MODEL_OWNER = "microcinema"
#: What a webhook can be asked to tell of there, and our events of that kind: a film has no output before its
#: end, and its logs are read from the prediction.
WEBHOOK_WORDS: Mapping[str, tuple[str, ...]] = {
    "start": ("video.started",),
    "output": (),
    "logs": (),
    "completed": ("video.completed", "video.failed", "video.cancelled"),
}


def _read_input(value: object) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise PydanticCustomError("bound", "{bound}", {"bound": "an object: the fields of POST /videos"})
    return value


def _read_filter(value: object) -> tuple[str, ...]:
    bound = f"a list of some of {', '.join(WEBHOOK_WORDS)}, with start or completed: of nothing else it tells"
    if not isinstance(value, list) or not all(
        isinstance(each, str) and each in WEBHOOK_WORDS for each in value
    ):
        raise PydanticCustomError("bound", "{bound}", {"bound": bound})
    if not (
        events := tuple(event for word in WEBHOOK_WORDS if word in value for event in WEBHOOK_WORDS[word])
    ):
        raise PydanticCustomError("bound", "{bound}", {"bound": bound})
    return events


def _read_stream(value: object) -> bool:
    if value is not False:
        raise PydanticCustomError("bound", "{bound}", {"bound": "left out or false: a film comes as a whole"})
    return value


class CreatePrediction(BaseModel):
    """What Replicate's clients send. `input` holds the fields of `POST /videos`."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        json_schema_extra={
            "required": ["input"],
            "examples": [
                {
                    "version": f"{MODEL_OWNER}/microcinema-micro",
                    "input": {"prompt": "a red circle moving right", "seed": 7},
                }
            ],
        },
    )

    input: Annotated[Mapping[str, Any] | None, BeforeValidator(_read_input), WithJsonSchema({})] = None
    version: Name | None = Field(
        None, description=f"A model's name, or {MODEL_OWNER}/ and its name; left out, the first model."
    )
    webhook: WebhookUrl | None = Field(None, description="As `webhook_url` of `POST /videos`.")
    webhook_events_filter: Annotated[
        tuple[str, ...] | None,
        BeforeValidator(_read_filter),
        WithJsonSchema({"type": "array", "items": {"enum": list(WEBHOOK_WORDS)}}),
    ] = Field(None, description="What `webhook` tells of: `start`, `completed` (every end) or both.")
    stream: Annotated[bool | None, BeforeValidator(_read_stream), WithJsonSchema({"const": False})] = None


def read_prediction(
    given: Mapping[str, object], model: str | None = None
) -> tuple[dict[str, object], Picture | None]:
    """The fields of `POST /videos` and the client's picture; `model` is the one that the address names.

    Raises InvalidFields for what is wrong with the body around `input`, or with the picture.
    """
    asked = read_shape(CreatePrediction, given)
    if asked.input is None:
        raise InvalidFields(
            [FieldFault("input", "", "the fields of POST /videos", "input is required: prompt, ...")]
        )
    if model is not None and asked.version is not None:
        raise InvalidFields(
            [FieldFault.of("version", asked.version, "left out: the address names the model")]
        )
    named = model if asked.version is None else asked.version.removeprefix(f"{MODEL_OWNER}/")
    fields = dict(asked.input)
    wished = list(asked.webhook_events_filter) if asked.webhook and asked.webhook_events_filter else None
    for field, value in (("model", named), ("webhook_url", asked.webhook), ("webhook_events", wished)):
        if value is None:
            continue
        if fields.get(field) is not None:
            bound = "left out: the prediction names it already"
            raise InvalidFields([FieldFault.of(f"input.{field}", fields[field], bound)])
        fields[field] = value
    told = fields.pop(PICTURE_FIELD, None)
    return fields, None if told is None else read_reference(told)


def model_at(owner: str, name: str) -> str:
    """The model that an address names: ours by its name alone, a foreign one (an alias, perhaps) as it is."""
    return name if owner == MODEL_OWNER else f"{owner}/{name}"
