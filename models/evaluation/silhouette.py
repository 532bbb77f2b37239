"""One object over one plain background: what stands in front, pixel by pixel and frame by frame.

Everything is measured from the pixels alone. Lengths scale with the picture: the numbers below are
for a 64-pixel side.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Reals = NDArray[np.float32]
Mask = NDArray[np.bool_]

# RGB distances (0 to 441). Named colours lie at least 117 from every named background, so half of
# that is the faintest thing we call an object; a plain background may stray by 40 (codec, decoder).
LEAST_CONTRAST = 58.0
PLAIN_WITHIN = 40.0
PLAIN_SHARE = 0.8  # of the border: the shape itself may touch the rest
FRONT_FROM = 0.4  # of the contrast: a second object of a fainter colour still counts as one
# Share of the picture: the world's smallest object covers 2.3 %, its largest 26 %.
LEAST_AREA, MOST_AREA = 0.008, 0.5
EVEN_WITHIN = 72.0  # half of the distance between the two closest object colours
LEAST_CORE = 6  # pixels
MOST_STRAY = 0.08  # of the main object's area; more than that is a second object


@dataclass(frozen=True)
class Silhouette:
    """A clip taken apart; F frames of H x W.

    background: RGB (F, 3). color: RGB of the object's inside (F, 3). evenness: the share of that
    inside which has the colour (F,). coverage: the share of each pixel that the object covers, 0 to
    1, (F, H, W).
    """

    background: Reals
    color: Reals
    evenness: Reals
    coverage: Reals


def neighbours(mask: Mask) -> Mask:
    """The mask grown by one pixel in all eight directions, (F, H, W)."""
    wide = np.pad(mask, ((0, 0), (0, 0), (1, 1)))
    wide = wide[:, :, :-2] | wide[:, :, 1:-1] | wide[:, :, 2:]
    tall = np.pad(wide, ((0, 0), (1, 1), (0, 0)))
    grown: Mask = tall[:, :-2] | tall[:, 1:-1] | tall[:, 2:]
    return grown


def connected_to(seed: Mask, passable: Mask) -> Mask:
    """Every passable pixel that a chain of passable neighbours joins to the seed, (F, H, W)."""
    reached = seed & passable
    while True:
        further = neighbours(reached) & passable
        if np.array_equal(further, reached):
            return reached
        reached = further


def plain_background(frames: Reals) -> Reals | None:
    """The border's median RGB per frame (F, 3); None when some frame's border is not plain."""
    width = max(1, min(frames.shape[1:3]) // 32)
    rows = frames[:, np.r_[:width, -width:0]].reshape(len(frames), -1, 3)
    columns = frames[:, width:-width, np.r_[:width, -width:0]].reshape(len(frames), -1, 3)
    border = np.concatenate([rows, columns], axis=1)
    middle = np.median(border, axis=1)
    near = np.linalg.norm(border - middle[:, None], axis=-1) <= PLAIN_WITHIN
    return middle.astype(np.float32) if (near.mean(axis=1) >= PLAIN_SHARE).all() else None


def inside_color(frame: Reals, mask: Mask, edge: Mask) -> tuple[Reals, float]:
    """Median RGB (3,) of one frame's object, and the share of its pixels that are near that colour.

    Edge pixels blend into the background and are left out, unless the object is nothing but edge.
    """
    core = mask & ~edge
    inside = frame[core if core.sum() >= LEAST_CORE else mask]
    middle = np.median(inside, axis=0).astype(np.float32)
    near = np.linalg.norm(inside - middle, axis=-1) <= EVEN_WITHIN
    return middle, float(near.mean())


def silhouette(frames: Pixels) -> Silhouette | None:
    """Take uint8 RGB frames (F, H, W, 3) apart.

    None unless every frame shows exactly one object over a plain background: so noise, blank
    frames, a second object and an object that blinks all give None.
    """
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8:
        raise ValueError(f"frames is {frames.dtype} of shape {frames.shape}; it must be uint8 (F, H, W, 3)")
    if min(frames.shape[:3]) < 1 or min(frames.shape[1:3]) < 16:
        raise ValueError(f"frames has shape {frames.shape}; it must hold 1 frame or more of at least 16 x 16")
    reals = frames.astype(np.float32)
    background = plain_background(reals)
    if background is None:
        return None
    distance = np.linalg.norm(reals - background[:, None, None], axis=-1)
    count, height, width = distance.shape
    pixels = height * width
    flat = distance.reshape(count, pixels)
    # The hundredth part of all pixels is less than half of the smallest object: all of it is inside.
    top = np.partition(flat, -(pixels // 100), axis=1)[:, -(pixels // 100) :]
    contrast = np.median(top, axis=1)[:, None, None]
    if contrast.min() < LEAST_CONTRAST:
        return None
    front = distance >= FRONT_FROM * contrast
    seed = np.zeros((count, pixels), dtype=np.bool_)
    seed[np.arange(count), flat.argmax(axis=1)] = True
    mask = connected_to(seed.reshape(front.shape), front)
    # 4:2:0 shares chroma between neighbours: up to two pixels off, an object has a fringe of its colour.
    fringed = neighbours(neighbours(mask))
    area = mask.sum(axis=(1, 2))
    stray = (front & ~fringed).sum(axis=(1, 2))
    if (area < LEAST_AREA * pixels).any() or (area > MOST_AREA * pixels).any():
        return None
    if (stray > MOST_STRAY * area).any():
        return None
    coverage = np.where(fringed, np.clip(distance / contrast, 0.0, 1.0), 0.0)
    insides = [inside_color(*each) for each in zip(reals, mask, neighbours(~mask), strict=True)]
    return Silhouette(
        background=background,
        color=np.stack([color for color, _ in insides]),
        evenness=np.asarray([even for _, even in insides], dtype=np.float32),
        coverage=coverage.astype(np.float32),
    )
