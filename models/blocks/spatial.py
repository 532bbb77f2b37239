"""The 2D layers of Stable Diffusion, with diffusers' parameter names, so that its weights load key by key.

Shapes: B batch, F frames, C channels, H W latent height and width, N = H*W, L text tokens.
Frames ride in the batch, frames fastest: (B F) C H W.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MOST_ROWS = 65_535
"""CUDA's bound on the grid dimension that most attention kernels give to the batch (pytorch issue 146704).

Temporal attention has one row for every place of every sample: eight clips of 512x512 pixels under guidance
are 65,536. One row too many is an invalid launch, and no CUDA context is trusted after one.
"""


def timestep_embedding(t: Tensor, width: int) -> Tensor:
    """Sinusoidal embedding of timesteps (B,) -> (B, width), cosine half first (Ho et al. 2020, app. B)."""
    half = width // 2
    frequencies = torch.exp(-math.log(10_000) * torch.arange(half, device=t.device) / half)
    angles = t[:, None].float() * frequencies[None, :]
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


class TimeEmbedding(nn.Module):
    """Two-layer perceptron on the sinusoidal embedding."""

    def __init__(self, width: int, time_width: int) -> None:
        super().__init__()
        self.width = width
        self.linear_1 = nn.Linear(width, time_width)
        self.linear_2 = nn.Linear(time_width, time_width)

    def forward(self, t: Tensor) -> Tensor:
        """(B,) -> (B, time_width)."""
        x = timestep_embedding(t, self.width).to(self.linear_1.weight.dtype)
        hidden: Tensor = self.linear_2(F.silu(self.linear_1(x)))
        return hidden


class Attention(nn.Module):
    """Multi-head attention; self-attention without `context`. Never holds the score matrix.

    Stable Diffusion 2.1's scores leave fp16's range (65504). Here they never are fp16: every kernel behind
    `scaled_dot_product_attention` keeps them in fp32, softmax included, so the checkpoints'
    `upcast_attention` has nothing to add (tests/golden/test_precision_attention.py).
    """

    def __init__(self, width: int, heads: int, context_width: int | None = None) -> None:
        super().__init__()
        self.heads = heads
        source = context_width or width
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_k = nn.Linear(source, width, bias=False)
        self.to_v = nn.Linear(source, width, bias=False)
        self.to_out = nn.ModuleList([nn.Linear(width, width)])

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """x (B, N, C), context (B, L, D) -> (B, N, C)."""
        source = x if context is None else context
        q, k, v = (self._split(y) for y in (self.to_q(x), self.to_k(source), self.to_v(source)))
        merged: Tensor = self.to_out[0](_attended(q, k, v).transpose(1, 2).flatten(2))
        return merged

    def _split(self, x: Tensor) -> Tensor:
        return x.reshape(*x.shape[:2], self.heads, -1).transpose(1, 2)  # B heads N C/heads


def _attended(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(q k^T) v for (B, heads, N, C/heads); what one launch cannot take goes part after part."""
    if q.shape[0] <= MOST_ROWS:
        return F.scaled_dot_product_attention(q, k, v)
    parts = zip(*(torch.split(x, MOST_ROWS) for x in (q, k, v)), strict=True)
    return torch.cat([F.scaled_dot_product_attention(*part) for part in parts])


class GatedProjection(nn.Module):
    """GEGLU (Shazeer 2020)."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.proj = nn.Linear(width, 2 * hidden)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.proj(x).chunk(2, dim=-1)
        return value * F.gelu(gate)


class FeedForward(nn.Module):
    def __init__(self, width: int, expansion: int = 4) -> None:
        super().__init__()
        # diffusers keeps a dropout at index 1: the hole keeps its key names
        self.net = nn.ModuleList(
            [GatedProjection(width, expansion * width), nn.Identity(), nn.Linear(expansion * width, width)]
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.net[2](self.net[0](x))
        return out


class TransformerBlock(nn.Module):
    """Pre-norm self-attention, text cross-attention, feed-forward."""

    def __init__(self, width: int, heads: int, text_width: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn1 = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.attn2 = Attention(width, heads, text_width)
        self.norm3 = nn.LayerNorm(width)
        self.ff = FeedForward(width)

    def forward(self, x: Tensor, text: Tensor) -> Tensor:
        """x (B*G, N, C): G groups of tokens that see only their own; text (B, L, D), shared by the groups.

        Text attention has no interaction between queries, so the groups are folded into the query axis
        and keys and values are computed once per sample, not once per group.
        """
        x = x + self.attn1(self.norm1(x))
        folded = x.reshape(text.shape[0], -1, x.shape[-1])
        folded = folded + self.attn2(self.norm2(folded), text)
        x = folded.reshape(x.shape)
        return x + self.ff(self.norm3(x))


class SpatialTransformer(nn.Module):
    """Attention over the pixels of one frame, with the prompt (diffusers' Transformer2DModel)."""

    def __init__(self, width: int, heads: int, text_width: int, groups: int, linear: bool) -> None:
        super().__init__()
        self.linear = linear
        self.norm = nn.GroupNorm(groups, width, eps=1e-6)
        self.proj_in = nn.Linear(width, width) if linear else nn.Conv2d(width, width, 1)
        self.transformer_blocks = nn.ModuleList([TransformerBlock(width, heads, text_width)])
        self.proj_out = nn.Linear(width, width) if linear else nn.Conv2d(width, width, 1)

    def forward(self, h: Tensor, text: Tensor) -> Tensor:
        """h ((B F), C, H, W), text (B, L, D) -> same shape as h."""
        x = self.norm(h)
        if not self.linear:
            x = self.proj_in(x)
        x = x.flatten(2).transpose(1, 2)  # (B F) N C
        if self.linear:
            x = self.proj_in(x)
        for block in self.transformer_blocks:
            x = block(x, text)
        if self.linear:
            x = self.proj_out(x)
        x = x.transpose(1, 2).reshape(h.shape)
        if not self.linear:
            x = self.proj_out(x)
        return h + x


class Downsample(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, stride=2, padding=1)

    def forward(self, h: Tensor) -> Tensor:
        out: Tensor = self.conv(h)
        return out


class Upsample(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, h: Tensor, size: torch.Size) -> Tensor:
        """Nearest neighbour to the next skip's size: odd latents come back to their own height and width."""
        out: Tensor = self.conv(F.interpolate(h, size=size, mode="nearest"))
        return out
