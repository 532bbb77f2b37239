"""When to try again, and when to give up."""

import random
from collections.abc import Callable
from dataclasses import dataclass

LONGEST_WAIT_S = 24 * 3600.0
"""No Retry-After moves a try further away than this."""

# 5 s, 30 s, 2 min, 10 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h: about two days, along Standard Webhooks 1.0.
DEFAULT_DELAYS_S = (5.0, 30.0, 120.0, 600.0, 1800.0, 7200.0, 18000.0, 36000.0, 50400.0, 72000.0)


@dataclass(frozen=True)
class Backoff:
    """`delays_s[n - 1]` is the wait behind failed try n; behind the last of them the delivery is given up.

    `jitter` spreads each wait by up to that share in both directions, so that receivers who come back from an
    outage are not met by everything at once. `draw` gives numbers in [0, 1).
    """

    delays_s: tuple[float, ...] = DEFAULT_DELAYS_S
    jitter: float = 0.2
    draw: Callable[[], float] = random.random

    def wait_s(self, tries: int, at_least_s: float = 0.0) -> float | None:
        """Seconds to wait behind failed try number `tries` (from 1), or None if that was the last one."""
        if tries > len(self.delays_s):
            return None
        spread = 1 + self.jitter * (2 * self.draw() - 1)
        return max(self.delays_s[tries - 1] * spread, at_least_s)
