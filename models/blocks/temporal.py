"""The layers that inflation adds: they mix frames at one place and are silent at initialisation.

Shapes: B batch, F frames, C channels, N = H*W; outside frames ride in the batch, (B F) C H W.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.blocks.spatial import TransformerBlock


def to_time(h: Tensor, frames: int) -> Tensor:
    """((B F), C, H, W) -> (B, C, F, N)."""
    return h.reshape(-1, frames, h.shape[1], h.shape[2] * h.shape[3]).transpose(1, 2)


def from_time(x: Tensor, shape: torch.Size) -> Tensor:
    """(B, C, F, N) -> `shape` = ((B F), C, H, W)."""
    return x.transpose(1, 2).reshape(shape)


def frame_positions(frames: int, width: int, like: Tensor) -> Tensor:
    """Sinusoidal positions (F, width), counted from the keyframe: frame F//2 is position 0.

    The family's code leaves order to the temporal convolutions. A parameter-free position counted from
    the centre says the same more directly, and says where the picture stands in the clip.
    """
    half = width // 2
    frequencies = torch.exp(-math.log(10_000) * torch.arange(half, device=like.device) / half)
    position = torch.arange(frames, device=like.device) - frames // 2
    angles = position[:, None] * frequencies[None, :]
    return torch.cat([angles.sin(), angles.cos()], dim=-1).to(like.dtype)


class TemporalConv(nn.Module):
    """3D GroupNorm - SiLU - 3x1x1 convolution, residual (figure "AppearNet block", yellow).

    Over (B, C, F, N) a 3x1x1 convolution is a 3x1 one, which every backend has a fast kernel for; the
    norm's statistics run over F, H and W as in the figure. The inner skip is not drawn: without it the
    zero convolution would erase the 2D network instead of leaving it as it is.
    """

    def __init__(self, width: int, groups: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups, width)
        self.conv = nn.Conv2d(width, width, (3, 1), padding=(1, 0))
        nn.init.zeros_(self.conv.weight)
        if self.conv.bias is not None:
            nn.init.zeros_(self.conv.bias)

    def forward(self, h: Tensor, frames: int, modulation: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """h ((B F), C, H, W); `modulation` = (gamma, beta), each (B, C, F, N): h*(1+gamma)+beta."""
        x = self.norm(to_time(h, frames))
        if modulation is not None:
            gamma, beta = modulation
            x = x * (1 + gamma) + beta
        return h + from_time(self.conv(F.silu(x)), h.shape)


class TemporalTransformer(nn.Module):
    """Attention over the frames at each place, with the prompt; zero-initialised output, residual."""

    def __init__(self, width: int, heads: int, text_width: int, groups: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups, width, eps=1e-6)
        self.proj_in = nn.Linear(width, width)
        self.block = TransformerBlock(width, heads, text_width)
        self.proj_out = nn.Linear(width, width)
        nn.init.zeros_(self.proj_out.weight)
        nn.init.zeros_(self.proj_out.bias)

    def forward(self, h: Tensor, text: Tensor, frames: int) -> Tensor:
        """h ((B F), C, H, W), text (B, L, D) -> same shape as h."""
        x = self.norm(to_time(h, frames)).permute(0, 3, 2, 1)  # B N F C
        x = self.proj_in(x)
        x = x + frame_positions(frames, x.shape[-1], x)
        x = self.block(x.flatten(0, 1), text).reshape(x.shape)
        x = self.proj_out(x).permute(0, 3, 2, 1)  # B C F N
        return h + from_time(x, h.shape)
