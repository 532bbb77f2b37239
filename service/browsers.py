"""What browsers are told: which other sites may ask, and what a document of ours may do."""

from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.answer_headers import add_missing, raw

ANY_ORIGIN = "*"
METHODS = ("GET", "HEAD", "POST", "PATCH", "DELETE")
#: Pages may read these of an answer; without being named, a browser shows them to no script.
EXPOSED = (
    *("Location", "Retry-After", "Retry-After-Ms", "X-Should-Retry", "RateLimit", "RateLimit-Policy"),
    *("X-Request-Id", "ETag", "Content-Range", "Accept-Ranges", "Content-Disposition", "Content-Length"),
    *("Preference-Applied", "OpenAI-Poll-After-Ms", "WWW-Authenticate"),
)
#: How long a browser remembers what it may send (seconds).
REMEMBERED_S = 600

#: On every answer: no guessing of types, no framing, and no signed link told to the next site.
HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
}
#: Of a document that says nothing itself: a problem, JSON, or a film that somebody opens by its link, around
#: which the browser makes a page. Nothing in it runs, and nobody frames it.
POLICY = (
    "default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
#: The reference under /docs is FastAPI's page: Swagger UI from where FastAPI takes it, a script in the page.
_REFERENCE_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' https://cdn.jsdelivr.net; "
    "style-src 'unsafe-inline' https://cdn.jsdelivr.net; img-src 'self' data: https://fastapi.tiangolo.com; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_REFERENCE = ("/docs", "/docs/oauth2-redirect")


class SecurityHeaders:
    """The outermost middleware: these headers on every answer that does not bring its own.

    `https_only_s`: so long browsers must come by https alone (RFC 6797); 0: they are told nothing.
    """

    def __init__(self, app: ASGIApp, https_only_s: int) -> None:
        self.app = app
        headers = dict(HEADERS)
        if https_only_s:
            headers["strict-transport-security"] = f"max-age={https_only_s}"
        self._usual = raw({**headers, "content-security-policy": POLICY})
        self._reference = raw({**headers, "content-security-policy": _REFERENCE_POLICY})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = self._reference if scope["path"].rstrip("/") in _REFERENCE else self._usual

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                add_missing(message, headers)
            await send(message)

        await self.app(scope, receive, marked)


def open_to(origins: Sequence[str]) -> Callable[[ASGIApp], ASGIApp]:
    """The middleware that lets pages of these origins ask, and read what they are answered.

    Outside all gates: a browser asks first whether it may (a preflight), and brings no key then. Keys come in
    a header that the page sets itself: no cookies are in play, so credentials are never allowed.
    """

    def around(app: ASGIApp) -> ASGIApp:
        return CORSMiddleware(
            app,
            allow_origins=list(origins),
            allow_methods=METHODS,
            allow_headers=["*"],  # OpenAI's client in a browser sends a dozen of its own
            expose_headers=EXPOSED,
            max_age=REMEMBERED_S,
        )

    return around


def read_origins(text: str) -> tuple[str, ...]:
    """Origins as browsers write them, parted by spaces, or `*`. Raises ValueError for what is none."""
    origins = tuple(text.split())
    for origin in origins:
        if origin != ANY_ORIGIN and not _is_origin(origin):
            raise ValueError(f"must be origins such as https://app.example, or {ANY_ORIGIN}, got {origin!r}")
    if ANY_ORIGIN in origins and len(origins) > 1:
        raise ValueError(f"must be {ANY_ORIGIN} alone, or origins, got both")
    return origins


def _is_origin(text: str) -> bool:
    url = urlsplit(text)
    try:
        default = {"http": 80, "https": 443}.get(url.scheme, 0) == url.port
    except ValueError:
        return False
    bare = text == f"{url.scheme}://{url.netloc}".lower() and "@" not in url.netloc and bool(url.hostname)
    return bare and url.scheme in ("http", "https") and not default
