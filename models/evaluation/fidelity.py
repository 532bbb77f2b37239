"""How close pictures are: PSNR, whole and on the object alone, and how calm the background stays."""

import numpy as np
from numpy.typing import NDArray

from models.evaluation.silhouette import Mask, Pixels, neighbours, silhouette

CEILING_DB = 99.0  # said of equal pictures; infinity has no place in a mean or in JSON


def psnr(picture: NDArray[np.generic], reference: NDArray[np.generic], where: Mask | None = None) -> float:
    """Peak signal-to-noise ratio in dB of 8-bit pictures of one shape (..., 3), at most CEILING_DB.

    `where` (...) restricts it to some pixels; at least one of them must be true. Raises ValueError
    when the shapes differ.
    """
    if picture.shape != reference.shape:
        raise ValueError(f"picture is {picture.shape}, reference is {reference.shape}; they must be equal")
    squares = (picture.astype(np.float64) - reference.astype(np.float64)) ** 2
    error = float(np.mean(squares if where is None else squares[where]))
    return min(CEILING_DB, float(10 * np.log10(255.0**2 / max(error, 1e-9))))


def object_mask(frames: Pixels) -> Mask | None:
    """Pixels that the one object covers at least half of, (F, H, W); None when there is no such object."""
    seen = silhouette(frames)
    return None if seen is None else seen.coverage >= 0.5


def background_drift(frames: Pixels) -> float | None:
    """Mean absolute difference (0 to 255) between neighbouring frames (F, H, W, 3) off the object.

    A pixel counts where the object and two pixels around it are in neither of the two frames. None
    when the video is not one object over a background, or has one frame only.
    """
    mask = object_mask(frames)
    if mask is None or len(frames) < 2:
        return None
    front = neighbours(neighbours(mask))
    background = ~(front[1:] | front[:-1])
    step = np.abs(frames[1:].astype(np.int16) - frames[:-1].astype(np.int16))
    return float(step[background].mean()) if background.any() else None
