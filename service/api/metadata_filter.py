"""`GET /videos?metadata[order]=4711`: which pairs the listed videos must have."""

import re
from collections.abc import Sequence
from typing import Any

from pydantic_core import PydanticCustomError

from service.contracts.request import MAX_METADATA_PAIRS
from service.fields.readers import MAX_METADATA_KEY_CHARS, MAX_METADATA_VALUE_CHARS, read_metadata
from service.refusals import FieldFault, InvalidFields

_PAIR = re.compile(r"metadata\[([^\]]*)\]")

METADATA_PARAMETER: dict[str, Any] = {
    "name": "metadata",
    "in": "query",
    "style": "deepObject",
    "explode": True,
    "required": False,
    "description": "Only videos that were given all of these pairs: `metadata[order]=4711`.",
    "schema": {
        "type": "object",
        "maxProperties": MAX_METADATA_PAIRS,
        "propertyNames": {"minLength": 1, "maxLength": MAX_METADATA_KEY_CHARS},
        "additionalProperties": {"type": "string", "maxLength": MAX_METADATA_VALUE_CHARS},
    },
}


def asked_metadata(query: Sequence[tuple[str, str]]) -> dict[str, str]:
    """The pairs of a query; empty without any. Raises InvalidFields for one that no video could have."""
    found = [(match[1], value) for name, value in query if (match := _PAIR.fullmatch(name))]
    pairs = dict(found)
    if len(pairs) < len(found):
        raise InvalidFields([FieldFault.of("metadata", found, "each name once")])
    try:
        return read_metadata(pairs)
    except PydanticCustomError as error:
        bound = str((error.context or {})["bound"])
        raise InvalidFields([FieldFault.of("metadata", pairs, bound)]) from None
