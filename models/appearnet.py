"""AppearNet: a copy of the inflated encoder and middle that watches z_t beside the keyframe."""

from __future__ import annotations

from torch import Tensor

from models.blocks.fusion import zero_conv
from models.blocks.inflated import Pass
from models.spec import UNetSpec
from models.unet import InflatedEncoder, InflatedUNet


class AppearNet(InflatedEncoder):
    """Embeddings of every block for input z_t + ZeroConv([z^c, ..., z^c]) (figure "overall architecture").

    They depend on z_t, the step and the prompt: it runs at every step and cannot be cached.
    """

    def __init__(self, spec: UNetSpec) -> None:
        super().__init__(spec, sources={})
        self.condition_in = zero_conv(spec.latent_channels, spec.latent_channels)

    @classmethod
    def copy_of(cls, main: InflatedUNet) -> AppearNet:
        """A new AppearNet that starts from the main network's encoder and middle, temporal layers too."""
        net = cls(main.spec)
        source = main.state_dict()
        own = net.state_dict()
        net.load_state_dict({name: source.get(name, value).clone() for name, value in own.items()})
        return net

    def forward(self, z: Tensor, z_c: Tensor, t: Tensor, text: Tensor) -> dict[str, Tensor]:
        """z (B, F, C, H, W), keyframe latent z_c (B, C, H, W), t (B,), text (B, L, D).

        Returns the embeddings by block name, each ((B F), Ca, H', W').
        """
        frames = z.shape[1]
        taps: dict[str, Tensor] = {}
        p = Pass(self.time_embedding(t), text, frames, taps=taps, recompute=self.recompute)
        x = z + self.condition_in(z_c)[:, None]
        self.encode(self.conv_in(x.flatten(0, 1)), p)
        return taps
