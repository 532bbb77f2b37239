"""Pictures to latents and back.

Shapes: pictures uint8 (H, W, 3); latents (C, h, w) float32, scaled to about unit variance.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import avg_pool2d

from models.errors import NonFiniteLatents, NonFinitePixels
from models.finite import check_finite
from models.precision import PrecisionBorder

Picture = NDArray[np.uint8]

GLIMPSE_FRAMES, GLIMPSE_CELLS = 4, 32
"""Of an unfinished clip so many frames are shown, their longer side at most so many latent cells."""


def glimpse_of(frames: int) -> list[int]:
    """Which of so many frames are shown: up to GLIMPSE_FRAMES of them, evenly spread, the ends among them."""
    shown = min(frames, GLIMPSE_FRAMES)
    return [index * (frames - 1) // max(1, shown - 1) for index in range(shown)]


def shrunk(z: Tensor) -> Tensor:
    """Latents (K, C, h, w) averaged down to GLIMPSE_CELLS a side, smaller ones as they are."""
    by = math.ceil(max(z.shape[-2:]) / GLIMPSE_CELLS)
    return avg_pool2d(z, by, ceil_mode=True) if by > 1 else z


def levels(frames: Tensor) -> Tensor:
    """Frames (F, 3, H, W) from 0 to 1 -> uint8 (F, H, W, 3), where they lie."""
    return (frames.float().clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()


class PictureCodec:
    """Stable Diffusion's autoencoder behind its scaling factor and its own precision border."""

    def __init__(self, model: AutoencoderKL) -> None:
        self._model = model
        self._scale = float(model.config.scaling_factor)
        self._border = PrecisionBorder(model.dtype)

    @classmethod
    def load(cls, folder: Path) -> PictureCodec:
        """The autoencoder of a diffusers folder, on the CPU in the folder's own precision."""
        return cls(AutoencoderKL.from_pretrained(folder).eval())

    @property
    def device(self) -> torch.device:
        """Where latents to decode must be."""
        return self._model.device

    @torch.inference_mode()
    def encode(self, pictures: Sequence[Picture]) -> Tensor:
        """B pictures of one size -> (B, C, h, w): the mode of the posterior, so no randomness enters.

        Equal pixels give equal bits, however they lie in memory: painted here, or read back from a file.
        Raises NonFiniteLatents.
        """
        # one memory layout, wherever a picture comes from: another would be summed in another order
        x = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous().to(self._model.device)
        z = self._model.encode(self._border.condition(x) / 127.5 - 1.0).latent_dist.mode()
        z = self._border.outward(z)
        check_finite(z, NonFiniteLatents, "the picture's latents are not finite")
        return z * self._scale

    @torch.inference_mode()
    def pixels(self, z: Tensor) -> Tensor:
        """Latents (K, C, h, w) -> float32 (K, 3, H, W), about -1 to 1, decoded as one batch.

        The memory is that of K pictures; each picture is the same alone and in company, to 1e-5.
        Raises NonFinitePixels.
        """
        x = self._border.outward(self._model.decode(self._border.condition(z / self._scale)).sample)
        check_finite(
            x, NonFinitePixels, f"the autoencoder made pixels that are not finite in {self._model.dtype}"
        )
        return x

    def decode(self, z: Tensor) -> Picture:
        """One latent (C, h, w) -> one picture."""
        return next(self.decode_clip(z[None], chunk=1))

    def decode_clip(self, z: Tensor, chunk: int) -> Iterator[Picture]:
        """Latents (F, C, h, w) -> F pictures one by one, `chunk` (from 1) of them decoded together."""
        if chunk < 1:
            raise ValueError(f"chunk {chunk} is less than 1")
        for part in torch.split(z, chunk):
            levels = ((self.pixels(part) / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8)
            pictures: NDArray[np.uint8] = levels.permute(0, 2, 3, 1).cpu().numpy()
            yield from pictures

    @torch.inference_mode()
    def glimpse(self, z: Tensor) -> NDArray[np.uint8]:
        """A clip's latents (F, C, h, w) -> up to 4 of its frames, its ends among them, uint8 (K, H, W, 3).

        Large latents are averaged down to 32 cells a side before they are decoded, one by one: what a
        glimpse costs does not grow with the video. Raises NonFinitePixels.
        """
        return np.stack(list(self.decode_clip(shrunk(z[glimpse_of(len(z))]), chunk=1)))
