"""A reading that many may ask for, taken again only when it is old."""

from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Remembered(Generic[T]):
    """What `read` answered, for at most `max_age_s` seconds by `clock`. Errors are not remembered."""

    def __init__(
        self, read: Callable[[], Awaitable[T]], clock: Callable[[], float], max_age_s: float = 1.0
    ) -> None:
        self._read = read
        self._clock = clock
        self._max_age_s = max_age_s
        self._last: tuple[float, T] | None = None

    def fresh(self) -> T | None:
        """The last reading if it is young enough."""
        if self._last is not None and self._clock() - self._last[0] < self._max_age_s:
            return self._last[1]
        return None

    async def get(self) -> T:
        """The last reading if it is young enough, else a new one. Raises what `read` raises."""
        fresh = self.fresh()
        if fresh is not None:
            return fresh
        reading = await self._read()
        self._last = (self._clock(), reading)
        return reading
