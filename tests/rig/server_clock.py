"""The clock that the Redis scripts see: it stands still until a test moves it."""

from __future__ import annotations

from redis import Redis

from service.store.script import Library

KEY = "test:now"
START = 1_700_000_000.0


class ServerClock:
    """`now` in seconds since 1970, for every script of `library`."""

    #: The service's scripts with this clock instead of the server's own.
    library = Library(clock=f"local function now() return tonumber(redis.call('GET', '{KEY}')) end")

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self.set(START)

    def set(self, now: float) -> None:
        self.now = round(now, 6)  # what the scripts read: models count microseconds, too
        self._redis.set(KEY, f"{self.now:.6f}")

    def advance(self, seconds: float) -> None:
        self.set(self.now + seconds)
