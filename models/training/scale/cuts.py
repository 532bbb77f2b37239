"""Cuts inside a video: a clip across one would teach that a scene may turn into another.

Two numbers for each pair of neighbouring frames, both in [0, 1] and both on small pictures:

    change  mean absolute difference of the pixels
    moved   earth mover's distance between the colour histograms, mean over R, G and B: how far the colours
            must move on their scale, wherever they stand in the picture; never more than `change`

A cut changes both far more than the frames on either side of it do. Fast motion, pans and shaking change the
pixels and hardly move the colours. Fades move the colours, but evenly over many frames. Not found: dissolves,
which do the same, and cuts between shots of the same colours. A photographic flash counts as a cut.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from models.training.scale.footage import Frames

SIDE = 32
"""Pixels along the side of the small pictures that the thresholds are meant for."""


@dataclass(frozen=True)
class CutRule:
    """A pair is a cut when moved >= least_moved, and when moved and change are at least moved_times and
    change_times their ordinary size: the median of `around` pairs before or after it, whichever is larger.
    """

    least_moved: float = 0.02
    moved_times: float = 4.0
    change_times: float = 2.0
    around: int = 6


def changes(small: Frames) -> NDArray[np.float64]:
    """Mean absolute differences (F - 1,) of neighbours in `small` (F, side, side, 3)."""
    return np.array([np.abs(b.astype(np.int16) - a).mean() / 255 for a, b in pairwise(small)])


def moved(small: Frames) -> NDArray[np.float64]:
    """Earth mover's distances (F - 1,) between the colour histograms of neighbours.

    Of equally many values on a line it is the mean distance of the sorted ones.
    """
    ordered = np.sort(small.reshape(len(small), -1, 3), axis=1)
    return changes(ordered)


def find_cuts(small: Frames, rule: CutRule = CutRule()) -> list[int]:
    """Numbers of the frames that begin a new scene, in ascending order; `small` is (F, SIDE, SIDE, 3)."""
    change, colours = changes(small), moved(small)
    return [
        int(pair) + 1
        for pair in np.flatnonzero(colours >= rule.least_moved)
        if colours[pair] >= rule.moved_times * _ordinary(colours, int(pair), rule.around)
        and change[pair] >= rule.change_times * _ordinary(change, int(pair), rule.around)
    ]


def _ordinary(values: NDArray[np.float64], at: int, around: int) -> float:
    sides = values[max(0, at - around) : at], values[at + 1 : at + 1 + around]
    return max((float(np.median(side)) for side in sides if len(side)), default=0.0)
