"""Headers as ASGI carries them: those that the gateway's layers look for and put on every answer.

Not by Starlette's Headers, which decode what is there for each header that they look for: every request and
every answer of the gateway passes here more than once.
"""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from starlette.types import Message, Scope

#: Names in lower case, both in Latin-1, by the ASGI specification.
RawHeaders: TypeAlias = Sequence[tuple[bytes, bytes]]


def raw(headers: Mapping[str, str]) -> RawHeaders:
    """These headers as ASGI has them."""
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]


def asked(scope: Scope, name: bytes) -> str | None:
    """The first header of this name (in lower case) that a request brings, as Starlette reads it."""
    for known, value in scope["headers"]:
        if known == name:
            text: str = value.decode("latin-1")
            return text
    return None


def add_missing(start: Message, more: RawHeaders) -> None:
    """Put `more` on an answer (its `http.response.start`), but for what it brings itself."""
    brought = dict(start.get("headers", ()))
    start["headers"] = [*start.get("headers", ()), *[header for header in more if header[0] not in brought]]


def header_of(start: Message, name: bytes) -> bytes:
    """The value of this header of an answer; empty where there is none."""
    for known, value in start.get("headers", ()):
        if known == name:
            found: bytes = value
            return found
    return b""
