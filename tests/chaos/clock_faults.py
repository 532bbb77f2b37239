"""Faults of clocks: hosts whose time of day is wrong, and a Redis whose time jumps.

Nobody dies in these, so no record may count a lost worker: the audit would call a mass reaping by its name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chaos.scene import LEASE_S
from chaos.strike import Plain, Strike

MOST_S = 15 * 60


class HostClocksSkewed(Plain):
    """Each host by another amount and while its process runs, as a late NTP does it."""

    name = "host_clocks_skewed"
    says = f"every process gets another wrong time of day, by up to {MOST_S // 60} minutes either way"

    def strike(self, at: Strike) -> Sequence[str]:
        at.wait_for_work()
        at.soon(0.3)
        hit = at.running()
        for name in at.scene.parts:
            at.scene.clocks[name].set(at.random.uniform(-MOST_S, MOST_S))
        return hit


@dataclass
class RedisClockJumps(Plain):
    """Forward, and with the next strike back to where it was: each jump by far more than a lease."""

    name = "redis_clock_jumps"
    says = f"the clock of Redis jumps by up to {MOST_S // 60} minutes, forward and back by turns"
    _ahead: bool = False

    def strike(self, at: Strike) -> Sequence[str]:
        at.wait_for_work()
        at.soon(0.3)
        hit = at.running()
        self._ahead = not self._ahead
        at.scene.clocks["valkey"].set(at.random.uniform(10 * LEASE_S, MOST_S) if self._ahead else 0.0)
        return hit
