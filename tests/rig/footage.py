"""Small synthetic videos for the training tests: scenes that move, and what can be wrong with a file."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.training import h264

Frames = NDArray[np.uint8]


def texture(seed: int, width: int, height: int) -> Frames:
    """A smooth random colour picture (height, width, 3), as unlike another seed's as two photographs."""
    rng = np.random.default_rng(seed)
    middle = rng.uniform(60, 195, size=3)
    grid = np.clip(middle + rng.normal(0, 45, size=(height // 8 + 1, width // 8 + 1, 3)), 0, 255)
    picture = Image.fromarray(grid.astype(np.uint8)).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(picture)


def pan(seed: int, frames: int, side: int = 64, speed: int = 1) -> Frames:
    """A camera that moves `speed` pixels a frame along a texture: (frames, side, side, 3)."""
    wide = texture(seed, side + frames * speed, side)
    return np.stack([wide[:, n * speed : n * speed + side] for n in range(frames)])


def mp4(frames: Frames, fps: int = 8) -> bytes:
    """The frames as H.264."""
    return h264.encode(np.ascontiguousarray(frames), fps)
