"""The fields of `POST /videos`, the same for JSON and multipart.

What a model can do (sizes, frame counts, steps, ...) is not known here: service/fields/bounds.py checks that.
"""

from collections.abc import Mapping
from itertools import islice
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, WithJsonSchema
from pydantic_core import ErrorDetails

from service.contracts.deadline import LONGEST_S, SHORTEST_S, Deadline
from service.contracts.request import (
    MAX_CANDIDATES,
    MAX_METADATA_PAIRS,
    MAX_PRIORITY,
    MAX_SEED,
    MIN_PRIORITY,
    Fit,
)
from service.contracts.webhook_endpoint import JOB_EVENT_TYPES
from service.fields.readers import (
    MAX_METADATA_KEY_CHARS,
    MAX_METADATA_VALUE_CHARS,
    MAX_NAME_CHARS,
    MAX_URL_CHARS,
    read_deadline,
    read_decimal_number,
    read_event_types,
    read_metadata,
    read_name,
    read_pause,
    read_single,
    read_size,
    read_text,
    read_visible_text,
    read_webhook_url,
    read_whole_number,
)
from service.refusals import MAX_UNKNOWN_NAMED, FieldFault

#: The client's picture travels beside the fields: a file, or where it lies (service/fields/references.py).
PICTURE_FIELD = "input_reference"


Whole = Annotated[
    int,
    BeforeValidator(read_whole_number),
    WithJsonSchema({"anyOf": [{"type": "integer"}, {"type": "string", "pattern": "^[+-]?[0-9]{1,18}$"}]}),
]
Decimal = Annotated[
    float,
    BeforeValidator(read_decimal_number),
    WithJsonSchema(
        {"anyOf": [{"type": "number"}, {"type": "string", "pattern": r"^[+-]?[0-9]{1,18}(\.[0-9]{0,18})?$"}]}
    ),
]
Text = Annotated[str, BeforeValidator(read_text)]
VisibleText = Annotated[str, BeforeValidator(read_visible_text), Field(min_length=1)]
Name = Annotated[str, BeforeValidator(read_name), Field(min_length=1, max_length=MAX_NAME_CHARS)]
Size = Annotated[
    tuple[int, int],
    BeforeValidator(read_size),
    WithJsonSchema({"type": "string", "pattern": "^[1-9][0-9]{0,4}[xX][1-9][0-9]{0,4}$"}),
]
WebhookUrl = Annotated[
    str,
    BeforeValidator(read_webhook_url),
    WithJsonSchema({"type": "string", "format": "uri", "maxLength": MAX_URL_CHARS}),
]
WebhookEvents = Annotated[
    tuple[str, ...],
    BeforeValidator(lambda value: read_event_types(value, JOB_EVENT_TYPES)),
    WithJsonSchema({"type": "array", "items": {"enum": list(JOB_EVENT_TYPES)}}),
]
Metadata = Annotated[
    dict[str, str],
    BeforeValidator(read_metadata),
    WithJsonSchema(
        {
            "type": "object",
            "maxProperties": MAX_METADATA_PAIRS,
            "propertyNames": {"minLength": 1, "maxLength": MAX_METADATA_KEY_CHARS},
            "additionalProperties": {"type": "string", "maxLength": MAX_METADATA_VALUE_CHARS},
        }
    ),
]
Moment = Annotated[
    Deadline,
    BeforeValidator(read_deadline),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "minimum": SHORTEST_S, "maximum": LONGEST_S},
                {"type": "string", "pattern": "^[0-9]{1,9}[smhd]$"},
                {"type": "string", "format": "date-time"},
            ]
        }
    ),
]
Delay = Annotated[
    Deadline,
    BeforeValidator(read_deadline),
    WithJsonSchema(
        {"anyOf": [{"type": "number", "minimum": 1}, {"type": "string", "pattern": "^[0-9]{1,9}[smhd]$"}]}
    ),
]
Pause = Annotated[str, BeforeValidator(read_pause), WithJsonSchema({"const": "image"})]
Single = Annotated[int, BeforeValidator(read_single), WithJsonSchema({"const": 1})]


class CreateVideo(BaseModel):
    """What a client may ask for. Only `prompt` is required; the model's own defaults fill the rest."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        json_schema_extra={
            "required": ["prompt"],
            "examples": [
                {"prompt": "a red circle moving right on a white background"},
                {
                    "prompt": "a green triangle rotating",
                    "size": "64x64",
                    "seconds": "2",
                    "fps": 8,
                    "seed": 7,
                    "metadata": {"order": "4711"},
                },
            ],
        },
    )

    prompt: VisibleText | None = Field(
        None, description="What the video shows. At most the model's `prompt_max_chars` characters."
    )
    model: Name | None = Field(None, description="A name from `GET /models`; left out, the first one there.")
    size: Size | None = Field(None, description="Width x height in pixels, one of the model's `sizes`.")
    seconds: Decimal | None = Field(
        None, description="Length. `seconds` times `fps` must be a frame count that the model allows."
    )
    num_frames: Whole | None = Field(None, description="Length in frames; an alternative to `seconds`.")
    fps: Whole | None = Field(None, description="Frames per second of the MP4.")
    seed: Whole | None = Field(
        None, description=f"0 to {MAX_SEED}. Left out, one is drawn and shown in the answer."
    )
    negative_prompt: Text | None = Field(None, description="What the video should not show.")
    num_inference_steps: Whole | None = Field(None, description="Denoising steps of each stage.")
    guidance_scale: Decimal | None = Field(None, description="Strength of classifier-free guidance.")
    gamma: Decimal | None = Field(
        None,
        description="Strength of the Appearance Noise Prior: how much of the keyframe is in the start noise.",
    )
    sampler: Name | None = Field(None, description="One of the model's `samplers`.")
    priority: Whole | None = Field(
        None, description=f"{MIN_PRIORITY} to {MAX_PRIORITY}; higher runs earlier among your own jobs."
    )
    start_by: Moment | None = Field(
        None,
        description="The job expires unless a worker has begun it by then: an RFC 3339 time, or a delay from "
        "its acceptance in seconds or such as `10m`, `2h`; 1 second to 30 days ahead.",
    )
    finish_by: Moment | None = Field(
        None, description="The job stops and expires unless its video is stored by then; given as `start_by`."
    )
    expires_after: Delay | None = Field(
        None,
        description="How long record and files stay once the job has ended: seconds, or such as `10m`, `1d`; "
        "60 seconds to what the operator allows, which is the default.",
    )
    fit: Fit | None = Field(
        None,
        description="How `input_reference` meets the size: `exact` (the default) refuses another size, "
        "`cover` fills and cuts, `contain` keeps the whole picture between black borders.",
    )
    pause_after: Pause | None = Field(
        None,
        description="`image`: the job stops in state `awaiting_approval` once its keyframe is painted, and "
        "goes on with the one that you choose (`POST /videos/{id}/approve`); stage 2 costs nothing before.",
    )
    candidates: Whole | None = Field(
        None,
        description=f"1 to {MAX_CANDIDATES} keyframes to choose from, 1 if left out. Needs `pause_after`.",
    )
    approve_within: Delay | None = Field(
        None,
        description="How long the job waits for your choice before it expires: seconds, or such as `10m`; 60 "
        "seconds to 7 days; what the operator set (a day) if left out. Needs `pause_after`.",
    )
    webhook_url: WebhookUrl | None = Field(
        None, description="Receives a signed POST (Standard Webhooks) when the job starts and when it ends."
    )
    webhook_events: WebhookEvents | None = Field(
        None, description="The events that `webhook_url` hears of; left out or empty: all."
    )
    metadata: Metadata | None = Field(None, description="Your own text, given back with the job.")
    n: Single | None = Field(None, description="Only 1; accepted because OpenAI-shaped clients send it.")
    user: Name | None = Field(
        None, description="Accepted because OpenAI-shaped clients send it; it has no effect."
    )


def read_fields(given: Mapping[str, object]) -> tuple[CreateVideo, list[FieldFault]]:
    """The fields that can be read, and one fault for each that cannot (those are left out).

    None counts as "not given"; an unknown field is a fault (of which only the first few are told).
    """
    known = CreateVideo.model_fields
    unknown = ((name, value) for name, value in given.items() if name not in known)
    all_known = (*known, PICTURE_FIELD)
    faults = {
        name: FieldFault.unknown(name, value, all_known) for name, value in islice(unknown, MAX_UNKNOWN_NAMED)
    }
    present = {name: value for name, value in given.items() if name in known and value is not None}
    try:
        return CreateVideo.model_validate(present), list(faults.values())
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            field = str(detail["loc"][0])
            faults[field] = FieldFault.of(field, present[field], _missed_bound(detail))
    readable = {name: value for name, value in present.items() if name not in faults}
    return CreateVideo.model_validate(readable), list(faults.values())


def _missed_bound(detail: ErrorDetails) -> str:
    context = detail.get("ctx", {})
    if "bound" in context:
        return str(context["bound"])
    if detail["type"] == "enum":
        return f"one of {', '.join(Fit)}"
    return detail["msg"]
