"""Counting verdicts: shares with their uncertainty, what was taken for what, and how values spread."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from models.evaluation.oracle import Verdict

ATTRIBUTES = ("color", "background", "shape", "motion")

Pairs = Sequence[tuple[Verdict, Verdict]]  # (asked, seen)


@dataclass(frozen=True)
class Tally:
    """`right` of `total`, with Wilson's 95 % interval (Wilson 1927), which also holds near 0 and 1."""

    right: int
    total: int

    def __post_init__(self) -> None:
        if self.total < 1:
            raise ValueError(f"total is {self.total}; it must be at least 1")
        if not 0 <= self.right <= self.total:
            raise ValueError(f"right is {self.right}; it must be 0 to {self.total}")

    @property
    def share(self) -> float:
        """right / total."""
        return self.right / self.total

    @property
    def interval(self) -> tuple[float, float]:
        """Lower and upper bound of the share, each 0 to 1."""
        z = 1.959964  # 97.5th percentile of the normal distribution
        n, p = self.total, self.share
        middle = (p + z * z / (2 * n)) / (1 + z * z / n)
        reach = z / (1 + z * z / n) * (p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5
        return max(0.0, middle - reach), min(1.0, middle + reach)

    def as_json(self) -> dict[str, float]:
        """right, total, share and the interval's bounds."""
        low, high = self.interval
        return {"right": self.right, "total": self.total, "share": self.share, "low": low, "high": high}


@dataclass(frozen=True)
class Spread:
    """How a measured value is distributed over films; `measured` of them had one."""

    mean: float
    p5: float
    median: float
    p95: float
    measured: int

    @classmethod
    def of(cls, values: Iterable[float | None]) -> "Spread | None":
        """The spread of all values that are there; None when none is."""
        known = [value for value in values if value is not None]
        if not known:
            return None
        p5, median, p95 = (float(value) for value in np.percentile(known, (5, 50, 95)))
        return cls(float(np.mean(known)), p5, median, p95, len(known))


def tallies(pairs: Pairs, attributes: Sequence[str] = ATTRIBUTES) -> dict[str, Tally]:
    """Per attribute, how many pairs agree; "joint" counts those that agree in all of `attributes`."""
    hits = {
        name: [getattr(asked, name) == getattr(seen, name) for asked, seen in pairs] for name in attributes
    }
    hits["joint"] = [all(each) for each in zip(*hits.values(), strict=True)]
    return {name: Tally(sum(each), len(each)) for name, each in hits.items()}


def mistaken(pairs: Pairs) -> dict[str, dict[str, int]]:
    """Per attribute, "asked -> seen" of every miss and how often, most frequent first."""
    misses: dict[str, dict[str, int]] = {}
    for name in ATTRIBUTES:
        words = [(getattr(asked, name), getattr(seen, name)) for asked, seen in pairs]
        count = Counter(f"{asked} -> {seen}" for asked, seen in words if asked != seen)
        misses[name] = dict(count.most_common())
    return misses
