"""A time by which something must have happened, as its client said it."""

from dataclasses import dataclass

SHORTEST_S, LONGEST_S = 1.0, 30 * 86400.0
"""A deadline lies this far ahead when its request arrives, both ends included (seconds)."""


@dataclass(frozen=True)
class Deadline:
    """`seconds` since 1970, or from the moment at which the record accepts the job (`relative`)."""

    seconds: float
    relative: bool

    def at(self, now: float) -> float:
        """Seconds since 1970, for a job accepted at `now`."""
        return now + self.seconds if self.relative else self.seconds
