"""What one gateway process takes on: so many requests at a time, so many bytes and seconds per body."""

import asyncio
import math
from collections.abc import Callable, Container
from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.answer_headers import asked
from service.refusals import BodyTooLarge, ServiceBusy, UploadTooSlow

JSON, FORM = "application/json", "multipart/form-data"
#: In the scope of a request whose body had come to its end before anybody read it: one packet, as a rule.
BODY_IS_HERE = "microcinema.body_is_here"


def media_type(content_type: str | None) -> str:
    """The type alone of a Content-Type, without parameters and in lower case; "" if there is none."""
    return (content_type or "").split(";")[0].strip().lower()


class ConcurrencyLimit:
    """At most `max_requests` HTTP requests at a time; more raise ServiceBusy. Probes (`exempt` paths) pass.

    A queue of waiting requests would only hide that the process is too small; the client's retry finds
    another replica.
    """

    def __init__(self, app: ASGIApp, max_requests: int, exempt: Container[str]) -> None:
        self.app = app
        self.max_requests = max_requests
        self.exempt = exempt
        self._running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in self.exempt:
            await self.app(scope, receive, send)
            return
        if self._running >= self.max_requests:
            raise ServiceBusy(f"{self.max_requests} requests are in progress in this process; try again")
        self._running += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self._running -= 1


class BodyLimit:
    """At most `max_bytes` of request body, `max_json_bytes` of JSON, all of it as fast as `pace` wants.

    At most `max_arriving` bodies are received at a time; one more raises ServiceBusy. They are fewer than the
    requests that ConcurrencyLimit lets in, so that clients whose bodies trickle in keep nobody from reading.

    JSON has a bound of its own because it is read as a whole, at about ten megabytes a second, and carries no
    picture. Counted while the bytes come in: a Content-Length may be missing or wrong. Raises BodyTooLarge or
    UploadTooSlow in the reader of the body.
    """

    def __init__(
        self, app: ASGIApp, max_bytes: int, max_json_bytes: int, pace: "Pace", max_arriving: int
    ) -> None:
        self.app = app
        self._any = _Bound("body", max_bytes)
        self._json = _Bound("JSON body", min(max_bytes, max_json_bytes))
        self.pace = pace
        self.max_arriving = max_arriving
        self._arriving = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        announced = asked(scope, b"content-length") or ""
        chunked = asked(scope, b"transfer-encoding") is not None  # then its announced length means nothing
        if announced in ("", "0") and not chunked:
            await self.app(scope, receive, send)  # nothing will come
            return
        bound = self._json if media_type(asked(scope, b"content-type")) == JSON else self._any
        length = announced.lstrip("0")[:18] or "0"  # of zeros in front it may have as many as it likes
        if announced.isdigit() and int(length) > bound.max_bytes:
            raise bound.missed_by(length)
        if BODY_IS_HERE in scope and not chunked:
            await self.app(scope, receive, send)  # as long as announced, and nobody has to wait for it
            return
        if self._arriving >= self.max_arriving:
            raise ServiceBusy(f"{self.max_arriving} request bodies are on their way to this process")
        self._arriving += 1
        body = _Arriving(self._arrived)
        try:
            await self.app(scope, self._metered(receive, bound, body), send)
        finally:
            body.ends()

    def _arrived(self) -> None:
        self._arriving -= 1

    def _metered(self, receive: Receive, bound: "_Bound", body: "_Arriving") -> Receive:
        began = asyncio.get_running_loop().time()
        received = 0

        async def metered() -> Message:
            nonlocal received
            if body.complete:  # what follows is the wait for the client to hang up, however long it takes
                return await receive()
            try:
                async with asyncio.timeout_at(began + self.pace.late_after(received)):
                    message = await receive()
            except TimeoutError:
                raise self.pace.missed_by(received) from None
            received += len(message.get("body", b""))
            if not message.get("more_body", False):
                body.ends()
            if received > bound.max_bytes:
                raise bound.missed_by(f"{received} and maybe more")
            return message

        return metered


class _Arriving:
    """A body on its way: `ended` is called once, when it is complete or nobody reads it any more."""

    def __init__(self, ended: Callable[[], None]) -> None:
        self._ended = ended
        self.complete = False

    def ends(self) -> None:
        if not self.complete:
            self.complete = True
            self._ended()


@dataclass(frozen=True)
class Pace:
    """How slowly a body may come: all of it within `timeout_s` seconds, and from `grace_s` on `least_rate`
    bytes for every second behind that, on average.

    Whoever sends a byte a second thus holds a place for the grace and not for the whole time; to hold it
    longer costs as many bytes as an honest upload.
    """

    timeout_s: float
    grace_s: float
    least_rate: float

    def late_after(self, received: int) -> float:
        """Seconds from the head until a body of which so many bytes have come is too slow."""
        earned = received / self.least_rate if self.least_rate else math.inf
        return min(self.timeout_s, self.grace_s + earned)

    def missed_by(self, received: int) -> UploadTooSlow:
        if self.late_after(received) >= self.timeout_s:
            return UploadTooSlow(f"the body must arrive within {self.timeout_s:g} seconds")
        return UploadTooSlow(
            f"after {self.grace_s:g} seconds the body must arrive at {self.least_rate:g} bytes a second "
            f"at least, got {received} bytes in all"
        )


@dataclass(frozen=True)
class _Bound:
    """What is bounded, and at how many bytes."""

    what: str
    max_bytes: int

    def missed_by(self, found: str) -> BodyTooLarge:
        return BodyTooLarge(f"the {self.what} must be at most {self.max_bytes} bytes, got {found}")
