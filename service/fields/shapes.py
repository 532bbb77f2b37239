"""Bodies that are JSON alone: read into their shape, with a fault for each field that does not fit."""

from collections.abc import Mapping
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from service.refusals import MAX_UNKNOWN_NAMED, FieldFault, InvalidFields

Shape = TypeVar("Shape", bound=BaseModel)


def read_shape(shape: type[Shape], given: Mapping[str, object]) -> Shape:
    """`given` as a `shape`; null counts as left out. Raises InvalidFields."""
    try:
        return shape.model_validate({name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        raise InvalidFields(
            [
                _fault(shape, str(detail["loc"][0]), given, detail["type"], detail.get("ctx", {}))
                for detail in error.errors(include_url=False)[:MAX_UNKNOWN_NAMED]
            ]
        ) from None


def _fault(
    shape: type[BaseModel], name: str, given: Mapping[str, object], kind: str, context: Mapping[str, object]
) -> FieldFault:
    value = given.get(name)
    if kind == "extra_forbidden":
        return FieldFault.unknown(name, value, shape.model_fields)
    if kind in ("string_too_long", "too_long"):  # the latter behind a reader of our own
        return FieldFault.of(name, value, f"at most {context.get('max_length')} characters")
    return FieldFault.of(name, value, str(context.get("bound", "true or false")))
