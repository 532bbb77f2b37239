"""The page at `/`: the API for people. Static files of ours, no build step, nothing from elsewhere."""

import hashlib
from functools import cache
from importlib.resources import files

from fastapi import APIRouter, Request
from starlette.responses import Response

from service.refusals import UnknownRoute

router = APIRouter(include_in_schema=False)

#: What `/playground/` holds; nothing else is read.
ASSETS = {
    "playground.css": "text/css",
    "icon.svg": "image/svg+xml",
    **dict.fromkeys(
        (
            "app.js",
            "api.js",
            "form.js",
            "page.js",
            "stage.js",
            "receipt.js",
            "gallery.js",
            "snippets.js",
        ),
        "text/javascript",
    ),
}
PREFIX = "/playground/"
#: Scripts and styles of ours only, and nobody frames the page. Pictures and videos come from wherever signed
#: links lead, and from what the page itself was sent (previews).
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' blob: data: http: https:; media-src 'self' blob: http: https:; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)


@router.get("/")
async def playground(request: Request) -> Response:
    """The page itself."""
    return _answer(request, "index.html", "text/html")


@router.get(PREFIX + "{name}")
async def asset(request: Request, name: str) -> Response:
    """A script or style of the page."""
    if name not in ASSETS:
        raise UnknownRoute(f"GET {PREFIX}: no such file")
    return _answer(request, name, ASSETS[name])


def _answer(request: Request, name: str, content_type: str) -> Response:
    body, etag = _read(name)
    headers = {"etag": etag, "cache-control": "no-cache", "content-security-policy": _POLICY}
    if request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers=headers)
    return Response(body, headers=headers, media_type=content_type)


@cache
def _read(name: str) -> tuple[bytes, str]:
    body = files("service").joinpath("web", name).read_bytes()
    return body, f'"{hashlib.sha256(body).hexdigest()[:32]}"'
