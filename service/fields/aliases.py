"""Foreign words for models of ours: code written for another service names its models, sizes and lengths.

Off unless the operator says so. What was taken for what is named in the job (`asked_as`), so nobody wonders
why a video has another size than was asked for.
"""

import json
from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from service.contracts.ids import NAME_PATTERN
from service.fields.readers import MAX_NAME_CHARS

_Size = Annotated[str, Field(pattern="^[1-9][0-9]{0,4}x[1-9][0-9]{0,4}$")]
_Seconds = Annotated[str, Field(pattern=r"^[0-9]{1,6}(\.[0-9]{1,6})?$")]


class Alias(BaseModel):
    """One foreign model: ours that stands for it, and its sizes and lengths in our values.

    A size or length that is not listed goes on as it is, to be held against our model's bounds.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = Field(pattern=NAME_PATTERN)
    size: dict[_Size, _Size] = Field(default_factory=dict)
    seconds: dict[_Seconds, _Seconds] = Field(default_factory=dict)


#: By the foreign model's name.
Aliases = Mapping[str, Alias]

_ALIASES = TypeAdapter(dict[Annotated[str, Field(min_length=1, max_length=MAX_NAME_CHARS)], Alias])


def read_aliases(text: object) -> object:
    """JSON text as the setting has it, "" for none."""
    if not isinstance(text, str):
        return text
    try:
        return _ALIASES.validate_python(json.loads(text or "{}"))
    except json.JSONDecodeError as error:
        raise ValueError(f"cannot be read as JSON: {error}") from None


def in_our_words(given: Mapping[str, object], aliases: Aliases) -> tuple[dict[str, object], dict[str, str]]:
    """The fields with foreign words replaced, and what the client wrote of those.

    Only where `model` is an alias: a size alone does not say for which model it was meant.
    """
    ours = dict(given)
    asked_as: dict[str, str] = {}
    name = given.get("model")
    alias = aliases.get(name) if isinstance(name, str) else None
    if alias is None:
        return ours, asked_as
    ours["model"], asked_as["model"] = alias.model, str(name)
    for field, values in (("size", alias.size), ("seconds", alias.seconds)):
        written = _plain(given.get(field))
        if written in values:
            ours[field], asked_as[field] = values[written], written
    return ours, asked_as


def _plain(value: object) -> str:
    """`1280X720`, `4`, `4.0` and `"4"` as the operator writes them."""
    if isinstance(value, str):
        return value.strip().lower()
    return f"{value:g}" if isinstance(value, int | float) and not isinstance(value, bool) else ""
