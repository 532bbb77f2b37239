"""The ruler of the ablations: clips to feature vectors that no training has touched.

Untrained random convolutions, fixed by a seed. Random networks measure distances between sets of pictures
usefully (Naeem et al. 2020, "Reliable fidelity and diversity metrics", found so for images far from
ImageNet), and ours are further from it than most: flat shapes of 64 pixels. They need no download, know
nothing of any model under test, and give distances that compare only with each other.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from models.evaluation.silhouette import Pixels

Features = NDArray[np.float64]  # (N, D)

CLIPS_AT_ONCE = 16


class RandomConvolutions:
    """Three layers of 3D convolution and ReLU; the mean and the deviation of every channel are the features.

    They see each frame beside its difference from the frame before: kernels that are random in time too
    would hardly ever be differences, and motion would count for little beside the background's colour.
    """

    def __init__(self, seed: int, width: int = 48) -> None:
        draw = torch.Generator().manual_seed(seed)
        self._kernels = [
            _kernel(draw, 6, width, (3, 5, 5)),
            _kernel(draw, width, width, (3, 3, 3)),
            _kernel(draw, width, width, (3, 3, 3)),
        ]

    @torch.inference_mode()
    def __call__(self, clips: Sequence[Pixels]) -> Features:
        """N clips uint8 (F, H, W, 3) of one shape -> (N, 6 * width)."""
        parts = [self._some(clips[i : i + CLIPS_AT_ONCE]) for i in range(0, len(clips), CLIPS_AT_ONCE)]
        return np.concatenate(parts)

    def _some(self, clips: Sequence[Pixels]) -> Features:
        x = torch.from_numpy(np.stack(clips)).float().permute(0, 4, 1, 2, 3) / 127.5 - 1  # N C F H W
        change = torch.zeros_like(x)
        change[:, :, 1:] = x[:, :, 1:] - x[:, :, :-1]
        x = torch.cat([x, change], dim=1)
        pooled = []
        for depth, kernel in enumerate(self._kernels):
            stride = (1, 2, 2) if depth == 0 else (2, 2, 2)
            padding = tuple(side // 2 for side in kernel.shape[2:])
            x = F.relu(F.conv3d(x, kernel, stride=stride, padding=padding))
            pooled += [x.mean(dim=(2, 3, 4)), x.std(dim=(2, 3, 4), correction=0)]
        joined: Features = torch.cat(pooled, dim=1).double().numpy()
        return joined


def _kernel(draw: torch.Generator, channels_in: int, channels_out: int, size: tuple[int, int, int]) -> Tensor:
    """Normal weights with the variance that keeps a ReLU network's signal (He et al. 2015)."""
    fan_in = channels_in * math.prod(size)
    return torch.randn(channels_out, channels_in, *size, generator=draw) * (2 / fan_in) ** 0.5


@dataclass(frozen=True, eq=False)
class Ruler:
    """Features in units of what rendered clips vary by: their strongest directions, each of deviation 1.

    convolutions -> (features - mean) @ axes; mean (D,), axes (D, dims).
    """

    convolutions: RandomConvolutions
    mean: Features
    axes: Features

    @classmethod
    def of(cls, convolutions: RandomConvolutions, clips: Sequence[Pixels], dims: int) -> "Ruler":
        """Fit the axes to rendered clips; needs more clips than `dims`, else ValueError."""
        if len(clips) <= dims:
            raise ValueError(f"dims is {dims} and there are {len(clips)} rendered clips; there must be more")
        features = convolutions(clips)
        mean = features.mean(axis=0)
        _, strengths, directions = np.linalg.svd(features - mean, full_matrices=False)
        if dims > len(strengths):
            raise ValueError(f"dims is {dims}; the convolutions give only {len(strengths)} features")
        deviations = strengths[:dims] / (len(clips) - 1) ** 0.5
        return cls(convolutions, mean, directions[:dims].T / np.maximum(deviations, 1e-12))

    def __call__(self, clips: Sequence[Pixels]) -> Features:
        """N clips uint8 (F, H, W, 3) -> (N, dims)."""
        return (self.convolutions(clips) - self.mean) @ self.axes
