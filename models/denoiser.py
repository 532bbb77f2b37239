"""Both networks of stage 2 as one function of float32 latents."""

from __future__ import annotations

from torch import Tensor, nn

from models.precision import PrecisionBorder
from models.unet import InflatedUNet


class VideoDenoiser(nn.Module):
    """eps_hat of a clip, from AppearNet and the main network together.

    AppearNet runs at every call: its embeddings depend on z_t, t and the prompt. Any other module may
    stand between keyframe and main network that takes (z, z_c, t, text) and gives embeddings by name.
    """

    def __init__(self, main: InflatedUNet, appearnet: nn.Module) -> None:
        super().__init__()
        self.main = main
        self.appearnet = appearnet

    def forward(self, z: Tensor, z_c: Tensor, t: Tensor, text: Tensor) -> Tensor:
        """z (B, F, C, H, W) and z_c (B, C, H, W) float32, t (B,), text (B, L, D) -> eps_hat float32 like z.

        Raises TypeError for latents of another format.
        """
        border = PrecisionBorder(self.main.conv_in.weight.dtype)
        z, z_c, text = border.latents(z), border.latents(z_c), border.condition(text)
        embeddings = self.appearnet(z, z_c, t, text)
        eps: Tensor = self.main(z, t, text, embeddings)
        return border.outward(eps)
