"""The body of `POST /videos`: JSON or multipart/form-data, read into the same named values."""

import asyncio
import json
import re
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import TypeVar

from python_multipart.multipart import parse_options_header
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from service.answer_headers import asked
from service.fields.readers import without_repeats
from service.fields.references import Picture, read_reference
from service.fields.video import PICTURE_FIELD
from service.limits import FORM, JSON, media_type
from service.refusals import (
    BodyTooLarge,
    FieldFault,
    InvalidFields,
    UnreadableBody,
    UnsupportedBody,
    shown,
)

Read = TypeVar("Read")

_METADATA_PART = re.compile(r"metadata\[([^\]]*)\]")
_EVENTS_PART = "webhook_events[]"  # as OpenAI's clients write each of a list
_PICTURE_PART = re.compile(rf"{PICTURE_FIELD}\[([^\]]*)\]")
_JSON = json.JSONDecoder(object_pairs_hook=without_repeats)
_MAX_PARTS, _MAX_FILES = 64, 4
#: Longer JSON is read in a thread: at ten megabytes a second this much takes longer than most requests.
_READ_AT_ONCE_BYTES = 64 * 1024
#: One object in another is all that the fields need. Python reads lists without letting another thread run: a
#: megabyte of them held everyone up for a quarter of a second, from a thread too.
_MAX_OPENED = 10_000
_MAX_EPILOGUE = 64  # bytes that a sender may put behind the closing delimiter: a line end, as a rule


@dataclass(frozen=True)
class Body:
    """Named values as the client wrote them, and the client's picture if there is one."""

    given: dict[str, object]
    picture: Picture | None = None


async def read_body(request: Request, max_text_bytes: int) -> Body:
    """Reads the body by its Content-Type; the text of a form may have `max_text_bytes` bytes in all.

    Raises UnsupportedBody, UnreadableBody, BodyTooLarge or InvalidFields.
    """
    content_type = media_type(asked(request.scope, b"content-type"))
    if content_type == JSON:
        return await _in_time(_json_body, await _whole(request))
    if content_type == FORM:
        return await _multipart_body(request, max_text_bytes)
    raise UnsupportedBody(
        f"Content-Type must be {JSON} or {FORM}, got {shown(content_type)}",
        headers={"Accept": f"{JSON}, {FORM}"},
    )


async def read_json(request: Request) -> dict[str, object]:
    """The named values of a body that can be JSON alone. Raises UnsupportedBody or UnreadableBody."""
    content_type = media_type(request.headers.get("content-type"))
    if content_type != JSON:
        sentence = f"Content-Type must be {JSON}, got {shown(content_type)}"
        raise UnsupportedBody(sentence, headers={"Accept": JSON})
    return await _in_time(_json_object, await _whole(request))


def has_body(request: Request) -> bool:
    """Whether anything was sent. Libraries name a content type also for nothing, so it is not looked at."""
    length = request.headers.get("content-length", "").strip()
    return length not in ("", "0") or "transfer-encoding" in request.headers


async def _whole(request: Request) -> bytes:
    """All that is sent. Raises ClientDisconnect when that is less than was announced.

    As Starlette's `body()`, without a generator around each piece: nearly every body is one.
    """
    pieces: list[bytes] = []
    more = True
    while more:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        pieces.append(message.get("body", b""))
        more = message.get("more_body", False)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)  # added up one by one they cost their square


async def _in_time(read: Callable[[bytes], Read], raw: bytes) -> Read:
    """What `read` makes of these bytes, without keeping others waiting."""
    return read(raw) if len(raw) <= _READ_AT_ONCE_BYTES else await asyncio.to_thread(read, raw)


def _json_body(raw: bytes) -> Body:
    given = _json_object(raw)
    told = given.pop(PICTURE_FIELD, None)
    return Body(given, None if told is None else read_reference(told))


def _json_object(raw: bytes) -> dict[str, object]:
    if raw.count(b"[") + raw.count(b"{") > _MAX_OPENED:
        raise UnreadableBody(f"the JSON body opens more than {_MAX_OPENED} objects and lists")
    try:
        body = _JSON.decode(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise UnreadableBody(f"the JSON body is not UTF-8 text (byte {error.start})") from None
    except RecursionError:
        raise UnreadableBody("the JSON body is nested too deeply") from None
    except ValueError as error:
        raise UnreadableBody(f"the body is not valid JSON: {error}") from None
    if not isinstance(body, dict):
        raise UnreadableBody(f"the JSON body must be an object, got {shown(body)}")
    return body


async def _multipart_body(request: Request, max_text_bytes: int) -> Body:
    ending = _Ending(request.headers["content-type"])
    # A text part may be as long as the body here: the limits below and in service/limits.py say it better.
    parser = MultiPartParser(
        Headers({"content-type": _as_bytes_in_text(request.headers["content-type"])}),
        ending.watch(request.stream()),
        max_files=_MAX_FILES,
        max_fields=_MAX_PARTS,
        max_part_size=2**31,
    )
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise UnreadableBody(f"the multipart body cannot be read: {error.message}") from None
    try:
        if not ending.closed:
            # The parser drops the last part in silence: a video without the client's picture, perhaps.
            raise UnreadableBody("the multipart body ends before its closing boundary")
        text_bytes = sum(len(value) for _, value in form.multi_items() if isinstance(value, str))
        if text_bytes > max_text_bytes:
            raise BodyTooLarge(
                f"the text of the form must be at most {max_text_bytes} bytes, got {text_bytes}"
            )
        parts = [(_utf8(name), _utf8_value(value)) for name, value in form.multi_items()]
        _refuse_repeats([name for name, _ in parts])
        return await _named_parts(parts)
    finally:
        await form.close()


def _as_bytes_in_text(content_type: str) -> str:
    """The same boundary, read as Latin-1: each character of the parsed text is then one byte of the body.

    Left to itself the parser decodes with any codec that the client names, some of which raise or take
    quadratic time, and guesses Latin-1 where the bytes do not fit. A form has no `charset`
    (RFC 7578, 8).
    """
    boundary = parse_options_header(content_type)[1].get(b"boundary")
    if boundary is None:
        return "multipart/form-data; charset=latin-1"
    quoted = boundary.decode("latin-1").replace("\\", "\\\\").replace('"', '\\"')
    return f'multipart/form-data; charset=latin-1; boundary="{quoted}"'


def _utf8(text: str) -> str:
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeDecodeError as error:
        raise UnreadableBody(f"a part of the multipart body is not UTF-8 text (byte {error.start})") from None


def _utf8_value(value: UploadFile | str) -> UploadFile | str:
    return _utf8(value) if isinstance(value, str) else value


class _Ending:
    """Watches a multipart stream pass, to see whether its closing delimiter came (RFC 2046, 5.1.1)."""

    def __init__(self, content_type: str) -> None:
        boundary = parse_options_header(content_type)[1].get(b"boundary", b"")
        self._delimiter = b"--" + boundary + b"--"
        self._last = b""

    async def watch(self, chunks: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
        async for chunk in chunks:
            self._last = (self._last + chunk)[-(len(self._delimiter) + _MAX_EPILOGUE) :]
            yield chunk

    @property
    def closed(self) -> bool:
        return self._delimiter in self._last


async def _named_parts(parts: list[tuple[str, UploadFile | str]]) -> Body:
    given: dict[str, object] = {}
    metadata: dict[str, str] = {}
    events: list[str] = []
    picture: Picture | None = None
    for name, value in parts:
        if isinstance(value, UploadFile):
            if name != PICTURE_FIELD:
                fault = FieldFault.of(name, value.filename, f"text; the only file is {PICTURE_FIELD}")
                raise InvalidFields([fault])
            if value.filename or value.size:  # a browser sends an empty part when no file was chosen
                picture = await value.read()
        elif name == PICTURE_FIELD:
            picture = read_reference(value) if value else None
        elif bracket := _PICTURE_PART.fullmatch(name):
            picture = read_reference({bracket[1]: value})
        elif name == _EVENTS_PART:
            events.append(value)
        elif bracket := _METADATA_PART.fullmatch(name):
            metadata[bracket[1]] = value
        else:
            given[name] = value
    if metadata:
        given["metadata"] = metadata
    if events:
        given[_EVENTS_PART.removesuffix("[]")] = events
    return Body(given, picture)


def _refuse_repeats(names: list[str]) -> None:
    """A part given twice is a mistake; so is a field as one part and in brackets at once."""
    for name in names:
        if (names.count(name) > 1 and name != _EVENTS_PART) or ("[" in name and name.split("[")[0] in names):
            raise InvalidFields(
                [FieldFault(shown(name), "", "given once", f"{shown(name)} must be given once")]
            )
