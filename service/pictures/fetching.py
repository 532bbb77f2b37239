"""Fetches a client's picture from where the client says it lies, before the job is accepted.

Whoever names the URL decides what answers: an address that only we can reach (service/ssrf.py), nothing, a
byte a second, or bytes without end. Each has its bound here, and what is refused names the field.
"""

import asyncio
import re
import socket
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import anyio
import anyio.to_thread
import httpx

from service.fields.references import PictureAt
from service.fields.video import PICTURE_FIELD
from service.refusals import FieldFault, InvalidFields, ServiceBusy, shown
from service.ssrf import AddressRefused, Guard, NameUnresolved, Resolve, origin_of, pinned_client

USER_AGENT = "MicroCinema-Pictures/1"
#: Of the fetches that one process makes at a time, so many may go to one host: a slow one leaves room.
PER_HOST_SHARE = 4
#: Begins as a PNG, JPEG or WebP file does; twelve bytes tell.
_MAGIC = re.compile(rb"\x89PNG\r\n\x1a\n|\xff\xd8\xff|RIFF....WEBP", re.DOTALL)
_MAGIC_BYTES = 12
_ADDRESS = re.compile(r"(\d{1,3}\.){3}\d{1,3}")
#: A last label like this makes a host an IPv4 address in some odd spelling (WHATWG URL, "ends in a number").
_NUMERIC = re.compile(r"(.*\.)?(\d+|0x[0-9a-f]*)\.?", re.IGNORECASE)


def resolver_of_its_own(lookups: int) -> Resolve:
    """The system's, at most `lookups` at a time in threads that nothing else waits for."""
    threads = anyio.CapacityLimiter(lookups)

    async def resolve(host: str, port: int) -> list[str]:
        def ask() -> list[str]:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            return list(dict.fromkeys(str(entry[4][0]) for entry in found))

        return await anyio.to_thread.run_sync(ask, abandon_on_cancel=True, limiter=threads)

    return resolve


@dataclass(frozen=True)
class FetchBounds:
    """At most `slots` fetches at a time (0: none at all), each of `max_bytes` within `timeout_s` in all.

    `origins` (as `origin_of` writes them) are the operator's own: they may have private addresses, any port
    and plain http. Everything else is https at port 443.
    """

    max_bytes: int
    timeout_s: float = 10.0
    slots: int = 16
    origins: frozenset[str] = frozenset()


class PictureFetcher:
    """GETs pictures. `resolve` looks names up, for tests too."""

    def __init__(self, bounds: FetchBounds, resolve: Resolve | None = None) -> None:
        self._bounds = bounds
        resolve = resolve or resolver_of_its_own(max(1, bounds.slots))
        timeouts = {"connect_timeout_s": bounds.timeout_s, "timeout_s": bounds.timeout_s}
        self._strangers = pinned_client(Guard(resolve=resolve), **timeouts)
        self._own = pinned_client(Guard(allow_private=True, resolve=resolve), **timeouts)
        self._under_way: Counter[str] = Counter()  # origin -> fetches

    async def fetch(self, picture: PictureAt) -> bytes:
        """The file's bytes, not looked at but for the first few. Raises InvalidFields or ServiceBusy."""
        bounds, url = self._bounds, picture.url
        origin = self._judged(url)
        client = self._own if origin in bounds.origins else self._strangers
        with self._slot(origin):
            try:
                async with asyncio.timeout(bounds.timeout_s):
                    return await self._body(client, url)
            except TimeoutError:
                raise _refused(url, f"there within {bounds.timeout_s:g} s") from None
            except (AddressRefused, NameUnresolved):
                # One sentence for both: it must not tell which names there are inside.
                raise _refused(url, "at a host that has public addresses only") from None
            except (httpx.HTTPError, httpx.InvalidURL, UnicodeError, OSError) as problem:
                raise _refused(url, "fetched without an error", type(problem).__name__) from None

    async def aclose(self) -> None:
        """No fetch comes after this."""
        await self._strangers.aclose()
        await self._own.aclose()

    def _judged(self, text: str) -> str:
        """Its origin, if that may be called at all."""
        if self._bounds.slots == 0:
            raise _refused(text, "sent as a file or a data URL: this service fetches none")
        try:
            url = httpx.URL(text)
            origin = origin_of(url)
        except (httpx.InvalidURL, UnicodeError, ValueError):
            raise _refused(text, "at a URL that can be read") from None
        if url.userinfo:
            raise _refused(text, "at a URL without a user name or password")
        if origin in self._bounds.origins:
            return origin
        host = url.raw_host.decode("ascii")
        if url.scheme != "https" or not origin.endswith(":443") or not host:
            raise _refused(text, "at an https URL, port 443")
        if _NUMERIC.fullmatch(host) and not _ADDRESS.fullmatch(host):
            raise _refused(text, "at a host's name, or an address in its usual form")
        return origin

    @contextmanager
    def _slot(self, origin: str) -> Iterator[None]:
        slots = self._bounds.slots
        if self._under_way.total() >= slots:
            raise ServiceBusy(f"{slots} pictures are being fetched by this process; try again")
        if self._under_way[origin] >= max(1, slots // PER_HOST_SHARE):
            raise ServiceBusy(f"{self._under_way[origin]} pictures are being fetched from there; try again")
        self._under_way[origin] += 1
        try:
            yield
        finally:
            self._under_way[origin] -= 1
            if not self._under_way[origin]:
                del self._under_way[origin]

    async def _body(self, client: httpx.AsyncClient, url: str) -> bytes:
        """The raw bytes as they come: nothing is unpacked, and no announced length is believed."""
        headers = {"user-agent": USER_AGENT, "accept": "image/*", "accept-encoding": "identity"}
        async with client.stream("GET", url, headers=headers) as response:
            if response.is_redirect:
                raise _refused(
                    url, "there itself: redirects are not followed", f"HTTP {response.status_code}"
                )
            if response.status_code != httpx.codes.OK:
                raise _refused(url, "answered by 200", f"HTTP {response.status_code}")
            encoding = response.headers.get("content-encoding", "identity").strip().lower()
            if encoding not in ("", "identity"):
                raise _refused(url, "sent without a Content-Encoding", encoding)
            return await self._gathered(url, response.aiter_raw())

    async def _gathered(self, url: str, chunks: AsyncIterator[bytes]) -> bytes:
        body = bytearray()
        looked = False
        async for chunk in chunks:
            body += chunk
            if len(body) > self._bounds.max_bytes:
                raise _refused(url, f"at most {self._bounds.max_bytes} bytes", "more")
            if not looked and len(body) >= _MAGIC_BYTES:
                looked = True
                _check_magic(url, body)
        if not looked:
            _check_magic(url, body)
        return bytes(body)


def _check_magic(url: str, body: bytearray) -> None:
    """By the bytes and not by the header, and before the rest is waited for."""
    if not _MAGIC.match(body):
        raise _refused(url, "a PNG, JPEG or WebP file", "something else")


def _refused(url: str, bound: str, found: str | None = None) -> InvalidFields:
    got = "" if found is None else f", got {shown(found)}"
    sentence = f"{PICTURE_FIELD} must be {bound}{got} ({shown(url)})"
    return InvalidFields([FieldFault(PICTURE_FIELD, shown(url), bound, sentence)])
