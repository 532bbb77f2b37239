"""How often one caller may ask: moving windows in Redis, per API key or, where keys are off, per address."""

import math
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Any, cast

from limits import RateLimitItem, parse_many
from limits.aio.storage import RedisStorage
from limits.aio.storage.redis.redispy import RedispyBridge
from limits.aio.strategies import MovingWindowRateLimiter
from starlette.types import ASGIApp, Receive, Scope, Send

from service.access import reaching_record
from service.auth import KEY_ID, is_loopback, is_open
from service.contracts.keys import REDIS_KEYS
from service.refusals import ANSWER_HEADERS, RateLimited
from service.store.script import AsksScripts, Script, evaluated

#: Where a gateway listens for other machines and nobody set anything.
PUBLIC_DEFAULT = "1200/minute"
OFF = "none"


def rates_for(text: str | None, host: str) -> tuple[RateLimitItem, ...]:
    """What is set or, where nothing is, PUBLIC_DEFAULT for a `host` that other machines can reach."""
    return read_rates(text or (OFF if is_loopback(host) else PUBLIC_DEFAULT))


@dataclass(frozen=True)
class Standing:
    """How a caller stands with one rate: requests left, and seconds until the oldest one is forgotten."""

    amount: int
    window_s: int
    remaining: int
    reset_s: int


@dataclass(frozen=True)
class Verdict:
    """`allowed`, and the standing with each rate that was asked; the last one said no, if any did."""

    allowed: bool
    standings: tuple[Standing, ...]


def read_rates(text: str) -> tuple[RateLimitItem, ...]:
    """`20/second;1200/minute` and the like, the shortest window first; none for OFF.

    Raises ValueError for what is no rate.
    """
    if text.strip() == OFF:
        return ()
    try:
        items = parse_many(text)
    except ValueError:
        raise ValueError(f"must be rates such as 20/second;1200/minute, or {OFF}, got {text!r}") from None
    if any(item.amount < 1 or item.get_expiry() < 1 for item in items):
        raise ValueError(f"each rate must be at least 1, got {text!r}")
    return tuple(sorted(items, key=lambda item: item.get_expiry()))


class _Scripts:
    """All that the library wants of a client to count with: its scripts, called over our connection."""

    def __init__(self, asks: AsksScripts) -> None:
        self._asks = asks

    def register_script(self, source: bytes) -> Callable[[Sequence[str], Sequence[Any]], Awaitable[Any]]:
        script = Script.of(source.decode())

        async def call(keys: Sequence[str], args: Sequence[Any]) -> Any:
            return await evaluated(self._asks, script, len(keys), *keys, *args)

        return call


class _Windows(RedisStorage):
    """The library's storage on our connection: one of its own pool costs more than all else for a request."""

    def __init__(self, asks: AsksScripts, prefix: str) -> None:
        self._scripts = _Scripts(asks)
        super().__init__("redis://", implementation="redispy", key_prefix=prefix)

    def configure_bridge(self) -> None:
        cast(RedispyBridge, self.bridge).connection_getter = lambda _readonly: cast(Any, self._scripts)


class Rates:
    """Counts requests by caller, over `redis`, whose errors pass; `clock` is Unix time."""

    def __init__(
        self, redis: AsksScripts, items: Sequence[RateLimitItem], clock: Callable[[], float] = time.time
    ) -> None:
        self._limiter = MovingWindowRateLimiter(_Windows(redis, REDIS_KEYS["RATES"].rstrip(":")))
        self._items = items
        self._clock = clock

    async def hit(self, caller: str) -> Verdict:
        """Counts one request, unless a rate says no; those of shorter windows have counted it then."""
        standings = []
        for item in self._items:
            allowed = await self._limiter.hit(item, caller)
            stats = await self._limiter.get_window_stats(item, caller)
            reset_s = max(1, math.ceil(stats.reset_time - self._clock()))
            standings.append(Standing(item.amount, item.get_expiry(), max(0, stats.remaining), reset_s))
            if not allowed:
                return Verdict(False, tuple(standings))
        return Verdict(True, tuple(standings))


class RateLimit:
    """Raises RateLimited, or RecordUnavailable; every answer says how its caller stands. `rates` None: off.

    Lies within KeyGate, so that a key is counted wherever it comes from. What is open to everybody is not
    counted: probes, metrics, the page and signed links. Headers: draft-ietf-httpapi-ratelimit-headers-10.
    """

    def __init__(self, app: ASGIApp, rates: Rates | None) -> None:
        self.app = app
        self.rates = rates

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or self.rates is None or is_open(scope["path"]):
            await self.app(scope, receive, send)
            return
        async with reaching_record():
            verdict = await self.rates.hit(_caller(scope))
        headers = _headers(verdict)
        if not verdict.allowed:
            passed = verdict.standings[-1]
            told = f"{passed.amount} requests in {passed.window_s} seconds are allowed"
            raise RateLimited(f"{told}; try again in {passed.reset_s} s", passed.reset_s, headers)
        scope.setdefault(ANSWER_HEADERS, {}).update(headers)
        await self.app(scope, receive, send)


def _caller(scope: Scope) -> str:
    key: str | None = scope.get(KEY_ID)
    return key if key is not None else f"address {_network(scope.get('client'))}"


def _network(client: tuple[str, int] | None) -> str:
    """The address; of IPv6 the /64, which one household or machine has to itself."""
    try:
        address = ip_address(client[0] if client else "")
    except ValueError:
        return "unknown"
    return str(address if address.version == 4 else ip_network(f"{address}/64", strict=False))


def _headers(verdict: Verdict) -> dict[str, str]:
    each = verdict.standings
    return {
        "ratelimit-policy": ", ".join(f'"{one.window_s}s";q={one.amount};w={one.window_s}' for one in each),
        "ratelimit": ", ".join(f'"{one.window_s}s";r={one.remaining};t={one.reset_s}' for one in each),
    }
