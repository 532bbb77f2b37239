"""Pictures to latents and back.

Shapes: pictures uint8 (H, W, 3); latents (C, h, w) float32, scaled to about unit variance.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from diffusers import AutoencoderKL
from numpy.typing import NDArray
from torch import Tensor

Picture = NDArray[np.uint8]


class PictureCodec:
    """Stable Diffusion's autoencoder behind its scaling factor."""

    def __init__(self, model: AutoencoderKL) -> None:
        self._model = model
        self._scale = float(model.config.scaling_factor)

    @torch.inference_mode()
    def encode(self, pictures: Sequence[Picture]) -> Tensor:
        """B pictures of one size -> (B, C, h, w): the mode of the posterior, so no randomness enters."""
        x = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).to(self._model.device, self._model.dtype)
        z: Tensor = self._model.encode(x / 127.5 - 1.0).latent_dist.mode()
        return z.float() * self._scale

    @torch.inference_mode()
    def decode(self, z: Tensor) -> Picture:
        """One latent (C, h, w) -> one picture: a clip decoded so needs the memory of a picture."""
        x = self._model.decode((z / self._scale).to(self._model.dtype)[None]).sample[0]
        levels = ((x.float() / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8)
        picture: Picture = levels.permute(1, 2, 0).cpu().numpy()
        return picture
