"""Which frames of a video become a training clip: pure arithmetic on the times at which they are shown.

A clip is `frames` moments at `fps` a second, from a start drawn evenly over all starts that leave room. At
each moment the frame that a viewer would see is taken, whatever the video's own rate is, even or not. Nothing
is interpolated, and nothing is looped or padded: what does not fit is refused.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Seconds = NDArray[np.float64]

# Containers store times in ticks: a frame that is due at a moment may stand a hair behind it.
_TICK = 1e-3


class Unfit(Exception):
    """A video that no clip can be taken from; `reason` is one word, the sentence says why."""

    def __init__(self, reason: str, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


@dataclass(frozen=True)
class ClipRule:
    """frames: of a clip, from 1. fps: at which they are shown, above 0."""

    frames: int
    fps: float

    def __post_init__(self) -> None:
        if self.frames < 1:
            raise ValueError(f"frames is {self.frames}; it must be at least 1")
        if not self.fps > 0:
            raise ValueError(f"fps is {self.fps}; it must be above 0")

    @property
    def span(self) -> float:
        """Seconds from the first to the last frame of a clip."""
        return (self.frames - 1) / self.fps


def check_room(shown: Seconds, rule: ClipRule) -> None:
    """Raise Unfit unless a clip fits into a video whose frames are shown at these times, in order.

    Two reasons: `too_short`, and `too_slow` for fewer frames a second than the clip shows, which would
    repeat some.
    """
    length = float(shown[-1] - shown[0]) if len(shown) else 0.0
    if len(shown) < rule.frames or length + _TICK < rule.span:
        raise Unfit(
            "too_short",
            f"{len(shown)} frames over {length:.2f} s; a clip of {rule.frames} frames at {rule.fps:g} "
            f"a second takes {rule.span:.2f} s",
        )
    rate = (len(shown) - 1) / length if length else float("inf")
    if rate < rule.fps * (1 - _TICK):
        raise Unfit("too_slow", f"{rate:.2f} frames a second; a clip shows {rule.fps:g}")


def clip_frames(shown: Seconds, rule: ClipRule, draw: float) -> NDArray[np.int64]:
    """Numbers (frames,) of the frames of one clip, ascending; `draw` in [0, 1) chooses the start.

    Raises Unfit (`check_room`).
    """
    check_room(shown, rule)
    slack = max(0.0, float(shown[-1] - shown[0]) - rule.span)
    moments = shown[0] + draw * slack + np.arange(rule.frames) / rule.fps
    return np.searchsorted(shown, moments + _TICK, side="right") - 1
