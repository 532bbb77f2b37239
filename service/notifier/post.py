"""One try of one delivery: a signed POST, bounded in time as a whole, and what its answer means."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime

import httpx

from service.logs import get_logger
from service.notifier.backoff import LONGEST_WAIT_S
from service.notifier.signing import Signer, body_of
from service.ssrf import AddressRefused, NameUnresolved
from service.store.deliveries import Delivery

log = get_logger(__name__)

_REFUSED = "the URL leads to what is not a public address, or to no port that could be called"
USER_AGENT = "MicroCinema-Webhooks/1"
_GONE = 410
_EXCERPT_BYTES = 2048
_EXCERPT_CHARS = 200


@dataclass(frozen=True)
class Answer:
    """What came of a try. `status` is None if no answer came; `reason` is one sentence, free of secrets.

    `retry_after_s` is the receiver's wish. `hopeless`: no later try can go better.
    """

    status: int | None
    reason: str
    retry_after_s: float = 0.0
    hopeless: bool = False

    @property
    def delivered(self) -> bool:
        """Whether the receiver has taken the event (2xx, as Standard Webhooks 1.0 says)."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def gone(self) -> bool:
        """Whether the receiver asked for no more of it (410)."""
        return self.status == _GONE


@dataclass(frozen=True)
class Poster:
    """Sends deliveries. `clock` gives Unix seconds; `timeout_s` bounds a whole try, name look-up included.

    The bound is on the whole because a receiver that sends one byte a second would outlive any limit on the
    single read.
    """

    client: httpx.AsyncClient
    signer: Signer
    timeout_s: float = 15.0
    clock: Callable[[], float] = time.time

    async def post(self, delivery: Delivery) -> Answer:
        """Every outcome is an Answer: nothing that a receiver does raises."""
        body = body_of(delivery.event)
        # An owner's endpoint has secrets of its own, which come with the delivery.
        signer = Signer(delivery.secrets) if delivery.secrets else self.signer
        headers = {
            **signer.headers(delivery.id, body, self.clock()),
            "content-type": "application/json",
            "user-agent": USER_AGENT,
            "accept-encoding": "identity",
        }
        try:
            async with asyncio.timeout(self.timeout_s):
                return await self._send(delivery.url, body, headers)
        except TimeoutError:
            return Answer(None, f"no answer within {self.timeout_s:g} s")
        except AddressRefused as refusal:
            # Owners read the reason: it must not tell them what a name of our network resolves to.
            log.warning("webhook_address_refused", event_id=delivery.event.id, reason=str(refusal))
            return Answer(None, _REFUSED, hopeless=True)
        except (httpx.InvalidURL, UnicodeError) as problem:  # UnicodeError: a host that is no Punycode
            return Answer(None, f"the URL cannot be read: {problem}", hopeless=True)
        except NameUnresolved as problem:
            return Answer(None, str(problem))
        except httpx.HTTPError as problem:
            return Answer(None, f"{type(problem).__name__}: {problem}".rstrip(": ")[:_EXCERPT_CHARS])

    async def aclose(self) -> None:
        """Closes the client; no try comes after this."""
        await self.client.aclose()

    async def _send(self, url: str, body: bytes, headers: dict[str, str]) -> Answer:
        async with self.client.stream("POST", url, content=body, headers=headers) as response:
            if response.is_success:
                return Answer(response.status_code, "delivered")
            said = excerpt(await _beginning(response), headers["webhook-signature"].split())
            reason = f"HTTP {response.status_code}" + (f": {said}" if said else "")
            return Answer(response.status_code, reason, self._retry_after(response))

    def _retry_after(self, response: httpx.Response) -> float:
        """Seconds that Retry-After asks for (RFC 9110 10.2.3: a number or a date); 0 for anything else."""
        text = response.headers.get("retry-after", "").strip()
        if text.isascii() and text.isdigit():
            return min(float(text[:9]), LONGEST_WAIT_S)
        try:
            moment = parsedate_to_datetime(text)
        except ValueError:
            return 0.0
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return min(max(0.0, moment.timestamp() - self.clock()), LONGEST_WAIT_S)


async def _beginning(response: httpx.Response) -> bytes:
    read = b""
    async for chunk in response.aiter_raw():
        read += chunk
        if len(read) >= _EXCERPT_BYTES:
            break
    return read[:_EXCERPT_BYTES]


def excerpt(body: bytes, secrets: list[str]) -> str:
    """The beginning of what a receiver said, as one printable line without `secrets` (it may echo us)."""
    text = body.decode("utf-8", errors="replace")
    for secret in secrets:
        text = text.replace(secret, "[signature]")
    printable = "".join(letter if letter.isprintable() else " " for letter in text)
    return " ".join(printable.split())[:_EXCERPT_CHARS]
