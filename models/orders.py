"""What a caller asks of the two stages, and what it hears while they work. Torch-free."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Look: TypeAlias = Callable[[int], NDArray[np.uint8] | None]
"""Order i as it seems to become, see Progress."""


@dataclass(frozen=True)
class PictureOrder:
    """One picture of stage 1; width and height in pixels."""

    prompt: str
    negative_prompt: str
    seed: int
    steps: int
    guidance_scale: float
    width: int
    height: int


@dataclass(frozen=True)
class VideoOrder:
    """One video of stage 2; `gamma` is the Appearance Noise Prior's weight at sampling.

    `fps` is the rate at which the frames will be shown, None if nobody knows; some public models are told it.
    `after`: what `Progress.keep` gave for this order; only the steps behind it are taken. For a model that
    `resumes` (models/abilities.py); any other begins at the first step.
    """

    prompt: str
    negative_prompt: str
    seed: int
    steps: int
    guidance_scale: float
    gamma: float
    num_frames: int
    width: int
    height: int
    sampler: str = "dpm++2m"
    guidance_low: float = 0.0  # guidance acts while low <= t/T <= high
    guidance_high: float = 1.0
    fps: int | None = None
    after: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Progress:
    """A denoising step that has finished.

    `keep(i)`: order i as it stood behind this step, as bytes; None where a stage cannot be gone on with.
    `look(i)`: order i as it seems to become: a few frames of it, evenly spread and small, uint8 (K, H, W,
    3), or None where there is nothing new of it to see; `look` None where a stage cannot be seen before its
    end. Both are for the time before the next step.
    """

    step: int  # 1 for the first
    steps: int
    keep: Callable[[int], bytes] | None = field(default=None, compare=False, repr=False)
    look: Look | None = field(default=None, compare=False, repr=False)
