"""Make the autoencoder's latents about equally strong in every direction, without changing a picture.

A freshly trained autoencoder spends most of its latents' variance on the background: here one direction
had a standard deviation of 3.2 and the one that told star tips apart 0.05. Diffusion adds the same
noise to all of them, so the object was decided in the last steps, where the loss hardly looks. A linear map
folded into the 1x1 convolutions around the latent evens that out; decoder(encoder(x)) stays what it was.
"""

from dataclasses import dataclass

import torch
from diffusers import AutoencoderKL
from torch import Tensor


@dataclass(frozen=True)
class Whitening:
    """z -> matrix (z - mean) for latents with C channels: mean (C,), matrix and inverse (C, C)."""

    mean: Tensor
    matrix: Tensor
    inverse: Tensor

    @classmethod
    def of(cls, latents: Tensor, power: float) -> "Whitening":
        """From a sample of unscaled latents (N, C, h, w): standard deviations s become s^(1 - power).

        power 0 only centres, power 1 makes every direction's deviation 1. Raises ValueError outside [0, 1].
        """
        if not 0 <= power <= 1:
            raise ValueError(f"power is {power}; it must lie in [0, 1]")
        flat = latents.double().movedim(1, -1).flatten(0, -2)  # (N h w, C)
        mean = flat.mean(dim=0)
        variance, directions = torch.linalg.eigh(torch.cov((flat - mean).T))
        strength = variance.clamp(min=1e-12).pow(power / 2)
        matrix = directions @ torch.diag(1 / strength) @ directions.T
        inverse = directions @ torch.diag(strength) @ directions.T
        return cls(mean.float(), matrix.float(), inverse.float())

    def apply(self, latents: Tensor) -> Tensor:
        """(N, C, h, w) -> the same shape."""
        centred = latents - self.mean[:, None, None]
        return torch.einsum("ij,njhw->nihw", self.matrix, centred)

    @torch.no_grad()
    def fold_into(self, vae: AutoencoderKL) -> None:
        """Let `vae` encode to and decode from whitened latents.

        Only the posterior's mean is mapped; its variance, which serving never uses, keeps its old axes.
        """
        channels = len(self.mean)
        before, after = vae.quant_conv, vae.post_quant_conv
        to_mean = before.weight[:channels, :, 0, 0]
        before.weight[:channels, :, 0, 0] = self.matrix @ to_mean
        before.bias[:channels] = self.matrix @ (before.bias[:channels] - self.mean)
        from_latent = after.weight[:, :, 0, 0].clone()
        after.weight[:, :, 0, 0] = from_latent @ self.inverse
        after.bias += from_latent @ self.mean
