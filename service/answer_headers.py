"""Headers that the gateway's layers put on every answer, as ASGI carries them.

Not by Starlette's MutableHeaders, which decodes what is there for each header that it looks for: every answer
of the gateway passes here twice.
"""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from starlette.types import Message

#: Names in lower case, both in Latin-1, by the ASGI specification.
RawHeaders: TypeAlias = Sequence[tuple[bytes, bytes]]


def raw(headers: Mapping[str, str]) -> RawHeaders:
    """These headers as ASGI has them."""
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]


def add_missing(start: Message, more: RawHeaders) -> None:
    """Put `more` on an answer (its `http.response.start`), but for what it brings itself."""
    brought = start.get("headers", ())
    names = {name for name, _ in brought}
    start["headers"] = [*brought, *(header for header in more if header[0] not in names)]


def header_of(start: Message, name: bytes) -> bytes:
    """The value of this header of an answer; empty where there is none."""
    return next((value for known, value in start.get("headers", ()) if known == name), b"")
