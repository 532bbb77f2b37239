"""What one gateway process takes on: so many requests at a time, so many bytes and seconds per body."""

import asyncio
from collections.abc import Container

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.refusals import BodyTooLarge, ServiceBusy, UploadTooSlow


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
    """At most `max_bytes` of request body, all of it within `timeout_s` seconds.

    Counted while the bytes come in: a Content-Length may be missing or wrong. Raises BodyTooLarge or
    UploadTooSlow in the reader of the body.
    """

    def __init__(self, app: ASGIApp, max_bytes: int, timeout_s: float) -> None:
        self.app = app
        self.max_bytes = max_bytes
        self.timeout_s = timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        for name, value in scope["headers"]:
            if name == b"content-length" and value.isdigit() and int(value[:18]) > self.max_bytes:
                raise self._too_large()
        await self.app(scope, self._metered(receive), send)

    def _metered(self, receive: Receive) -> Receive:
        deadline = asyncio.get_running_loop().time() + self.timeout_s
        received = 0
        complete = False

        async def metered() -> Message:
            nonlocal received, complete
            if (
                complete
            ):  # what follows is the wait for the client to hang up, which may take as long as it likes
                return await receive()
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                raise UploadTooSlow(f"the body must arrive within {self.timeout_s:g} seconds") from None
            received += len(message.get("body", b""))
            complete = not message.get("more_body", False)
            if received > self.max_bytes:
                raise self._too_large()
            return message

        return metered

    def _too_large(self) -> BodyTooLarge:
        return BodyTooLarge(f"the body must be at most {self.max_bytes} bytes")
