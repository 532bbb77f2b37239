"""The outline of a silhouette as harmonics of its radius: what it looks like from its own middle.

For a shape seen from its centroid, r(theta) is the distance to its outer edge and
c_k = 2 |mean r e^(-ik theta)| / mean r the strength of its k-fold symmetry. The strengths depend
neither on size nor on tilt; the angle of c_k turns k times as fast as the shape does, which is how
rotation is followed. (Zahn and Roskies, "Fourier descriptors for plane closed curves", 1972.)
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.evaluation.silhouette import Reals

Phasors = NDArray[np.complex128]

ANGLES = 60  # a multiple of every fold that matters
STEP = 0.5  # pixels between two looks along a ray
HARMONICS = 6


@dataclass(frozen=True)
class Outline:
    """One object followed through F frames.

    x, y: centroid in pixels (F,). area: pixels (F,). solidity: how full the inner third is, 0 to 1
    (F,). harmonics: complex c_1 ... c_6 (F, 6), relative to the mean radius.
    """

    x: Reals
    y: Reals
    area: Reals
    solidity: Reals
    harmonics: Phasors


def along_rays(coverage: Reals, x: Reals, y: Reals) -> Reals:
    """Coverage on rays from the centroid, bilinear, (F, ANGLES, R); outside the picture it is 0."""
    count, height, width = coverage.shape
    frame, row_seen, column_seen = np.nonzero(coverage)
    reach = np.hypot(row_seen - y[frame], column_seen - x[frame]).max() + 1.0
    radii = np.arange(STEP / 2, reach, STEP, dtype=np.float32)
    angles = np.arange(ANGLES, dtype=np.float32) * np.float32(2 * np.pi / ANGLES)
    px = x[:, None, None] + np.cos(angles)[:, None] * radii
    py = y[:, None, None] + np.sin(angles)[:, None] * radii
    # One ring of zeros, so that looking outside needs no special case.
    padded = np.pad(coverage, ((0, 0), (1, 2), (1, 2)))
    px, py = np.clip(px + 1, 0, width + 1), np.clip(py + 1, 0, height + 1)
    column, row = px.astype(np.intp), py.astype(np.intp)
    across, down = px - column, py - row
    flat = padded.reshape(-1)
    stride = width + 3
    corner = (np.arange(count) * (height + 3) * stride)[:, None, None] + row * stride + column
    upper = flat[corner] * (1 - across) + flat[corner + 1] * across
    lower = flat[corner + stride] * (1 - across) + flat[corner + stride + 1] * across
    rays: Reals = (upper * (1 - down) + lower * down).astype(np.float32)
    return rays


def outline(coverage: Reals) -> Outline:
    """Follow the one object of coverage (F, H, W); every frame must cover something."""
    area = coverage.sum(axis=(1, 2))
    if not (area > 0).all():
        raise ValueError("coverage has an empty frame; it must show the object in every frame")
    _, height, width = coverage.shape
    y = (coverage.sum(axis=2) @ np.arange(height, dtype=np.float32)) / area
    x = (coverage.sum(axis=1) @ np.arange(width, dtype=np.float32)) / area
    rays = along_rays(coverage, x, y)
    # Seen from outside, a hole is filled: r(theta) is where the outermost matter ends.
    filled = np.maximum.accumulate(rays[..., ::-1], axis=-1)[..., ::-1]
    radius = filled.sum(axis=-1) * np.float32(STEP)  # (F, ANGLES)
    spectrum = np.fft.rfft(radius, axis=1) / ANGLES
    mean = spectrum[:, 0].real
    harmonics = 2 * spectrum[:, 1 : HARMONICS + 1] / mean[:, None]
    looks = (np.arange(rays.shape[-1]) + 0.5) * STEP
    inner = looks[None, :] < mean[:, None] / 3  # (F, R)
    weight = inner * looks  # a ring of pixels grows with its radius
    solidity = (rays.mean(axis=1) * weight).sum(axis=1) / weight.sum(axis=1)
    return Outline(x, y, area, solidity.astype(np.float32), harmonics)
