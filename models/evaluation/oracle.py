"""The oracle: what a video of the micro world shows, by classical vision alone.

Nothing here is learned and nothing is fitted to a model's output. Thresholds are halves: half of
the least that the world ever shows (world.place), or half of what the ideal shape would give.
A video that is not one object over one plain background is judged "none" in every respect, so that
a broken video earns no part marks.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.evaluation.outline import HARMONICS, Outline, outline
from models.evaluation.silhouette import Pixels, Reals, silhouette
from models.training.world import BACKGROUNDS, CANVAS, COLORS

NONE = "none"

# RGB distance within which a colour has a name: half of the closest pair (145 colours, 117 backgrounds).
COLOR_WITHIN = 75.0
BACKGROUND_WITHIN = 50.0
EVEN_SHARE = 0.7  # of the object's inside must have its colour
STEADY_SHARE = 0.75  # of all frames must agree on a name

# Shape -> fold of its symmetry, and how strong that harmonic may be (see outline.py). The exact
# shapes give 0.275, 0.139 and 0.344. At the least half of that (the star less, for its thin arms
# blur first), at the most a quarter above it: blur only weakens, but a cross is four-fold and stronger.
FOLDS = {"triangle": 3, "square": 4, "star": 5}
STRENGTHS = {"triangle": (0.137, 0.344), "square": (0.070, 0.174), "star": (0.140, 0.430)}
ROUND_WITHIN = 0.07  # no harmonic of a disc may be as strong as a square's
HOLLOW_BELOW = 0.5

# The least that a moving thing of the world does in one clip (world.place).
LEAST_TRAVEL = 18.0 / CANVAS  # of the picture's side
LEAST_GROWTH = float(np.log(1.65))  # of the radius
LEAST_TURN = float(np.deg2rad(52.0))
MOVES_FROM, STILL_TO = 0.5, 0.25  # in those units; between the two is neither
MOST_WOBBLE = 0.12  # rms off the straight line; a jump in mid-clip gives 0.17


@dataclass(frozen=True)
class Verdict:
    """What was seen; each is a word of the world (world.py) or "none"."""

    color: str = NONE
    shape: str = NONE
    background: str = NONE
    motion: str = NONE


def nearest(rgb: Reals, names: Mapping[str, tuple[int, int, int]], within: float) -> str:
    """The name whose RGB is closest to rgb (3,), or "none" when even that is too far away."""
    name, distance = min(
        ((name, float(np.linalg.norm(rgb - np.asarray(point)))) for name, point in names.items()),
        key=lambda pair: pair[1],
    )
    return name if distance <= within else NONE


def color_of(rgb: Reals, evenness: float) -> str:
    """Name one frame's object colour; an object of two colours has none."""
    return nearest(rgb, COLORS, COLOR_WITHIN) if evenness >= EVEN_SHARE else NONE


def agreed(names: Sequence[str]) -> str:
    """The name that at least STEADY_SHARE of the frames agree on, else "none"."""
    name, votes = Counter(names).most_common(1)[0]
    return name if votes >= STEADY_SHARE * len(names) else NONE


def shape_of(strengths: Reals, solidity: float) -> str:
    """Name one frame's outline from |c_1| ... |c_6| (6,) and the fullness of its middle."""
    fits = {shape: float(strengths[fold - 1]) / STRENGTHS[shape][0] for shape, fold in FOLDS.items()}
    best = max(fits, key=lambda shape: fits[shape])
    hollow = solidity < HOLLOW_BELOW
    if fits[best] >= 1.0:
        strength = float(strengths[FOLDS[best] - 1])
        # The overtone of a triangle (c_6) belongs to it; anything else that strong spoils the shape.
        own = {FOLDS[best], 2 * FOLDS[best]}
        rest = max(float(strengths[k - 1]) for k in range(2, HARMONICS + 1) if k not in own)
        fitting = strength <= STRENGTHS[best][1] and rest < strength / 2
        return best if fitting and not hollow else NONE
    if float(strengths[1:].max()) >= ROUND_WITHIN:
        return NONE
    return "ring" if hollow else "circle"


def straight_change(track: NDArray[np.floating], least: float) -> tuple[float, bool]:
    """Change of a track (F,) over the clip along its regression line, in units of `least`.

    Also whether the track keeps to that line: rms residual within MOST_WOBBLE of the change.
    """
    moments = np.linspace(0.0, 1.0, len(track))
    slope, start = np.polyfit(moments, track / least, 1)
    residual = float(np.sqrt(np.mean((track / least - start - slope * moments) ** 2)))
    return float(slope), residual <= MOST_WOBBLE * max(1.0, abs(float(slope)))


def motion_of(track: Outline, shape: str, side: int) -> str:
    """Name the motion of an outline through F frames of a picture `side` pixels wide."""
    if len(track.x) < 2:
        return NONE
    channels = {
        ("left", "right"): straight_change(track.x, LEAST_TRAVEL * side),
        ("up", "down"): straight_change(track.y, LEAST_TRAVEL * side),
        ("shrinking", "growing"): straight_change(np.log(track.area) / 2, LEAST_GROWTH),
    }
    if shape in FOLDS:
        fold = FOLDS[shape]
        turned = np.unwrap(np.angle(track.harmonics[:, fold - 1])) / fold
        channels[("rotating", "rotating")] = straight_change(turned, LEAST_TURN)
    if not all(straight for _, straight in channels.values()):
        return NONE
    ranked = sorted(channels.items(), key=lambda pair: abs(pair[1][0]), reverse=True)
    (names, (change, _)), (_, (second, _)) = ranked[:2]
    if abs(change) <= STILL_TO:
        return "still"
    alone = abs(second) < min(MOVES_FROM, abs(change) / 2)
    return names[change > 0] if abs(change) >= MOVES_FROM and alone else NONE


def judge(frames: Pixels) -> Verdict:
    """Judge uint8 RGB frames (F, H, W, 3) of at least 16 x 16; one frame alone shows no motion.

    Raises ValueError when frames has another type or shape.
    """
    seen = silhouette(frames)
    if seen is None:
        return Verdict()
    track = outline(seen.coverage)
    strengths = np.abs(track.harmonics)
    shape = agreed([shape_of(s, float(full)) for s, full in zip(strengths, track.solidity, strict=True)])
    return Verdict(
        color=agreed(
            [color_of(rgb, float(even)) for rgb, even in zip(seen.color, seen.evenness, strict=True)]
        ),
        shape=shape,
        background=agreed([nearest(rgb, BACKGROUNDS, BACKGROUND_WITHIN) for rgb in seen.background]),
        motion=motion_of(track, shape, min(frames.shape[1:3])),
    )
