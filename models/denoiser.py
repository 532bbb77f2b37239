"""The precision border: fp32 latents outside, the networks' own format inside (ADR 0005)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.appearnet import AppearNet
from models.unet import InflatedUNet


class VideoDenoiser(nn.Module):
    """eps_hat of a clip, from AppearNet and the main network together.

    AppearNet runs at every call: its embeddings depend on z_t, t and the prompt.
    """

    def __init__(self, main: InflatedUNet, appearnet: AppearNet) -> None:
        super().__init__()
        self.main = main
        self.appearnet = appearnet

    def forward(self, z: Tensor, z_c: Tensor, t: Tensor, text: Tensor) -> Tensor:
        """z (B, F, C, H, W) and z_c (B, C, H, W) float32, t (B,), text (B, L, D) -> eps_hat float32 like z.

        Refuses latents of another format: a sampler that lost precision on the way must not go unseen.
        """
        if z.dtype is not torch.float32 or z_c.dtype is not torch.float32:
            raise TypeError(f"latents must be float32 outside the networks, got {z.dtype} and {z_c.dtype}")
        inside = self.main.conv_in.weight.dtype
        z, z_c, text = z.to(inside), z_c.to(inside), text.to(inside)
        embeddings = self.appearnet(z, z_c, t, text)
        eps: Tensor = self.main(z, t, text, embeddings)
        return eps.float()
