"""Noise from seeds: drawn on the CPU, one generator per sample, so that neither the device nor the
batch mates of a video change it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

MAX_SEED = 2**32 - 1
# One request, two stages: each draws its own numbers, so that a picture and its video do not share noise.
PICTURE_STREAM = 0
VIDEO_STREAM = 1
# For what a public pipeline draws from torch's own generator, past the one that it is given.
STRAY_STREAM = 2


def seeded_generator(seed: int, stream: int, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator of `stream`'s numbers for `seed`; the same numbers on every machine if it is a CPU's."""
    return torch.Generator(device).manual_seed(stream_seed(seed, stream))


def stream_seed(seed: int, stream: int) -> int:
    """What a torch generator must start from to draw `stream`'s numbers for `seed`. Raises ValueError."""
    if not 0 <= seed <= MAX_SEED:
        raise ValueError(f"seed must be 0..{MAX_SEED}, got {seed}")
    # torch's CPU generator reads only 32 bits of its seed, so a stream cannot ride above them;
    # exclusive or with a constant keeps the map one to one
    return seed ^ (stream * 0x9E3779B9 & MAX_SEED)


def seeded_noise(seeds: Sequence[int], shape: tuple[int, ...], stream: int) -> Tensor:
    """Standard normal noise (B, *shape), float32 on the CPU; row i depends on seeds[i] and `stream` alone."""
    return torch.stack([torch.randn(shape, generator=seeded_generator(seed, stream)) for seed in seeds])
