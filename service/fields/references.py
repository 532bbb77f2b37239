"""`input_reference` in all its forms: a file's bytes, a data URL that holds them, or the URL of one."""

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from service.fields.readers import MAX_URL_CHARS, without_repeats
from service.fields.video import PICTURE_FIELD
from service.refusals import FieldFault, InvalidFields, shown

IMAGE_URL = "image_url"
_DATA_URL = re.compile(r"data:image/(png|jpe?g|webp)(;[!-+\--:<-~]*)?;base64,", re.IGNORECASE)
_WEB_URL = re.compile(r"https?:[!-~]+\Z", re.IGNORECASE)
_BOUND = (
    f'a file part of multipart/form-data, or {{"{IMAGE_URL}": URL}} with an https or data URL of a '
    "PNG, JPEG or WebP picture"
)


@dataclass(frozen=True)
class PictureAt:
    """The client's picture lies at this URL and has not been looked at."""

    url: str


#: What a client's picture is before it is looked at: the bytes of a file, or where they are.
Picture = bytes | PictureAt


def read_reference(value: object) -> Picture:
    """The value of the field in JSON, or the text of that part of a form. Raises InvalidFields.

    `{"image_url": "https://..."}` is OpenAI's shape (its `file_id` names files that nobody has stored here);
    the URL alone is taken too, and in a form the object as JSON text. A data URL gives its bytes at once.
    """
    if isinstance(value, str) and value.lstrip().startswith("{"):
        try:
            value = json.loads(value, object_pairs_hook=without_repeats)
        except (ValueError, RecursionError):
            raise _refused(value) from None
    if isinstance(value, Mapping):
        named = {name: each for name, each in value.items() if each is not None}
        if set(named) != {IMAGE_URL}:
            raise _refused(value)
        value = named[IMAGE_URL]
    if not isinstance(value, str):
        raise _refused(value)
    if found := _DATA_URL.match(value):
        return _decoded(value, found.end())
    if not _WEB_URL.match(value) or len(value) > MAX_URL_CHARS:
        raise _refused(value)
    return PictureAt(value)


def picture_digest(picture: Picture | None) -> str | None:
    """What of a picture makes two requests the same: its bytes or, unfetched, its URL as it was written."""
    if isinstance(picture, PictureAt):
        return f"url:{hashlib.sha256(picture.url.encode('ascii')).hexdigest()}"
    return None if picture is None else hashlib.sha256(picture).hexdigest()


def _decoded(url: str, start: int) -> bytes:
    try:
        return base64.b64decode(url[start:], validate=True)
    except (binascii.Error, ValueError):
        raise InvalidFields(
            [FieldFault.of(PICTURE_FIELD, url, "whole base64 behind the comma of a data URL")]
        ) from None


def _refused(value: object) -> InvalidFields:
    if isinstance(value, str) and len(value) > MAX_URL_CHARS:
        bound = f"{_BOUND}; an https URL has at most {MAX_URL_CHARS} characters"
        return InvalidFields(
            [FieldFault(PICTURE_FIELD, shown(value), bound, f"{PICTURE_FIELD} must be {bound}")]
        )
    return InvalidFields([FieldFault.of(PICTURE_FIELD, value, _BOUND)])
