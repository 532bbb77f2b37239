"""Serving one stored file: whole or a range of it, streamed from wherever it is kept."""

import base64
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from service.access import Shelf
from service.api.byte_ranges import asked_range, names_etag, still_the_same


@dataclass(frozen=True)
class ServedFile:
    """`bytes` is the file's length, `sha256` its checksum in hex; `filename` is what browsers save it as."""

    key: str
    bytes: int
    sha256: str
    content_type: str
    filename: str
    attached: bool = False


async def file_response(request: Request, shelf: Shelf, file: ServedFile) -> Response:
    """200, 206 or 304, with the headers alone for HEAD. Raises UnsatisfiableRange or ContentGone."""
    etag = f'"{file.sha256}"'
    disposition = "attachment" if file.attached else "inline"
    headers = {
        "accept-ranges": "bytes",
        "etag": etag,
        "cache-control": "private, no-transform",
        "content-disposition": f'{disposition}; filename="{file.filename}"',
        # RFC 9530: lets a client check the whole file whatever it was served through.
        "repr-digest": f"sha-256=:{base64.b64encode(bytes.fromhex(file.sha256)).decode()}:",
    }
    asked = request.headers
    if names_etag(asked.get("if-none-match"), etag):
        return Response(status_code=304, headers=headers)
    unchanged = still_the_same(asked.get("if-range"), etag)
    part = asked_range(asked.get("range"), file.bytes) if unchanged and request.method == "GET" else None
    start, end = (part.start, part.end) if part else (0, file.bytes)
    headers["content-length"] = str(end - start)
    if part is not None:
        headers["content-range"] = part.content_range
    status = 200 if part is None else 206
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers, media_type=file.content_type)
    chunks = await shelf.read(file.key, start, end)
    return StreamingResponse(chunks, status, headers, media_type=file.content_type)
