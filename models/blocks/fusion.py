"""How the appearance enters the main network (figure "AppearNet block").

Only the last layer of each path starts at zero. Were the projector in front of a zero gamma/beta pair
zero as well, neither would ever receive a gradient: the pair sees a zero input and the projector a
zero weight ahead of it.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from models.blocks.temporal import to_time


def zero_conv(channels_in: int, channels_out: int) -> nn.Conv2d:
    """A 1x1 convolution that starts silent (Zhang et al. 2023, ControlNet)."""
    conv = nn.Conv2d(channels_in, channels_out, 1)
    nn.init.zeros_(conv.weight)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    return conv


class Denormalisation(nn.Module):
    """Appearance embedding -> projector -> (gamma, beta), in the manner of SPADE (Park et al. 2019)."""

    def __init__(self, appearance_channels: int, width: int) -> None:
        super().__init__()
        self.projector = nn.Conv2d(appearance_channels, width, 1)
        self.gamma = zero_conv(width, width)
        self.beta = zero_conv(width, width)

    def forward(self, embedding: Tensor, frames: int) -> tuple[Tensor, Tensor]:
        """((B F), Ca, H, W) -> gamma and beta, each (B, C, F, N)."""
        x = F.silu(self.projector(embedding))
        return to_time(self.gamma(x), frames), to_time(self.beta(x), frames)


class AdditiveFusion(nn.Module):
    """Attention blocks: main output + projector(appearance embedding)."""

    def __init__(self, appearance_channels: int, width: int) -> None:
        super().__init__()
        self.projector = zero_conv(appearance_channels, width)

    def forward(self, h: Tensor, embedding: Tensor) -> Tensor:
        """Both ((B F), C or Ca, H, W)."""
        return h + self.projector(embedding)
