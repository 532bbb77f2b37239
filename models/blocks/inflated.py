"""3D ResBlock, 3D attention and the levels made of them.

A level's plan says which blocks take appearance (main network) and which do not (AppearNet gives it).
Spatial parameters keep diffusers' names; everything inflation adds has `temporal` or `fusion` in its name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from models.blocks.fusion import AdditiveFusion, Denormalisation
from models.blocks.spatial import Downsample, SpatialTransformer, Upsample
from models.blocks.temporal import TemporalConv, TemporalTransformer
from models.spec import UNetSpec


@dataclass(frozen=True)
class Pass:
    """What every block of one forward pass shares.

    `appearance` holds the AppearNet's embeddings by target name; `taps`, when given, receives each
    block's output by name (the AppearNet's pass fills it, the main network's keeps none: memory).
    `recompute` is for training: of each block the inputs alone are kept, and it runs again on the way back
    (gradient checkpointing, Chen et al. 2016). Gradients stay the same; nothing inside a block is random.
    """

    time: Tensor  # (B, E)
    text: Tensor  # (B, L, D)
    frames: int
    appearance: Mapping[str, Tensor] = field(default_factory=dict)
    taps: MutableMapping[str, Tensor] | None = None
    recompute: bool = False

    def through(self, block: Callable[..., Tensor], *inputs: object) -> Tensor:
        """block(*inputs)."""
        if not (self.recompute and torch.is_grad_enabled()):
            return block(*inputs)
        out: Tensor = checkpoint(block, *inputs, use_reentrant=False, preserve_rng_state=False)
        return out

    def tap(self, name: str, h: Tensor) -> None:
        if self.taps is not None:
            self.taps[name] = h


class InflatedResBlock(nn.Module):
    """Two groups of GN-SiLU-Conv2d, each followed by a temporal group; the second one is modulated."""

    def __init__(self, c_in: int, c_out: int, spec: UNetSpec, appearance_channels: int | None) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(spec.norm_groups, c_in)
        self.conv1 = nn.Conv2d(c_in, c_out, 3, padding=1)
        self.time_emb_proj = nn.Linear(spec.time_width, c_out)
        self.temporal1 = TemporalConv(c_out, spec.norm_groups)
        self.norm2 = nn.GroupNorm(spec.norm_groups, c_out)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, padding=1)
        self.temporal2 = TemporalConv(c_out, spec.norm_groups)
        self.conv_shortcut = nn.Conv2d(c_in, c_out, 1) if c_in != c_out else None
        self.fusion = None if appearance_channels is None else Denormalisation(appearance_channels, c_out)

    def forward(self, h: Tensor, p: Pass, name: str) -> Tensor:
        """((B F), c_in, H, W) -> ((B F), c_out, H, W)."""
        out = p.through(self._block, h, p.time, p.appearance.get(name), p.frames)
        p.tap(name, out)
        return out

    def _block(self, h: Tensor, t: Tensor, embedding: Tensor | None, frames: int) -> Tensor:
        time = self.time_emb_proj(F.silu(t)).repeat_interleave(frames, dim=0)  # (B F) C
        x = self.conv1(F.silu(self.norm1(h))) + time[:, :, None, None]
        x = self.temporal1(x, frames)
        x = self.conv2(F.silu(self.norm2(x)))
        if self.fusion is None or embedding is None:
            x = self.temporal2(x, frames)
        else:
            x = self.temporal2(x, frames, self.fusion(embedding, frames))
        skip = h if self.conv_shortcut is None else self.conv_shortcut(h)
        out: Tensor = skip + x
        return out


@dataclass(frozen=True)
class LevelPlan:
    """What one level is made of; `None` sources mean that nothing is injected there."""

    widths: tuple[tuple[int, int], ...]  # (in, out) channels of each ResBlock
    heads: int
    resnet_sources: tuple[int | None, ...]  # channels of the embedding that feeds each ResBlock
    attention_sources: tuple[int | None, ...]  # the same for each attention block: none, no attention
    resample: bool = False  # does a Downsample or Upsample follow?


class InflatedLevel(nn.Module):
    """ResBlocks with, where the plan says so, a spatial and a temporal transformer after each."""

    def __init__(self, plan: LevelPlan, spec: UNetSpec) -> None:
        super().__init__()
        width, groups = plan.widths[-1][1], spec.norm_groups
        self.resnets = nn.ModuleList(
            InflatedResBlock(c_in, c_out, spec, source)
            for (c_in, c_out), source in zip(plan.widths, plan.resnet_sources, strict=True)
        )
        self.attentions = nn.ModuleList(
            SpatialTransformer(width, plan.heads, spec.text_width, groups, spec.linear_projection)
            for _ in plan.attention_sources
        )
        self.temporal_attentions = nn.ModuleList(
            TemporalTransformer(width, plan.heads, spec.text_width, groups) for _ in plan.attention_sources
        )
        self.fusion_attentions = nn.ModuleList(
            AdditiveFusion(source, width) for source in plan.attention_sources if source is not None
        )

    def attend(self, h: Tensor, p: Pass, name: str, index: int) -> Tensor:
        """The index-th 3D attention block, if this level has any."""
        if not self.attentions:
            return h
        h = p.through(self._attention, index, h, p.text, p.appearance.get(name), p.frames)
        p.tap(name, h)
        return h

    def _attention(
        self, index: int, h: Tensor, text: Tensor, embedding: Tensor | None, frames: int
    ) -> Tensor:
        h = self.attentions[index](h, text)
        h = self.temporal_attentions[index](h, text, frames)
        if self.fusion_attentions and embedding is not None:
            h = self.fusion_attentions[index](h, embedding)
        return h


class DownLevel(InflatedLevel):
    """Encoder level: gives one skip per ResBlock and one for the downsample."""

    def __init__(self, plan: LevelPlan, spec: UNetSpec) -> None:
        super().__init__(plan, spec)
        self.downsamplers = nn.ModuleList([Downsample(plan.widths[-1][1])] if plan.resample else [])

    def forward(self, h: Tensor, p: Pass, name: str) -> tuple[Tensor, list[Tensor]]:
        skips = []
        for index, resnet in enumerate(self.resnets):
            h = resnet(h, p, f"{name}.resnet.{index}")
            h = self.attend(h, p, f"{name}.attention.{index}", index)
            skips.append(h)
        for downsample in self.downsamplers:
            h = downsample(h)
            skips.append(h)
        return h, skips


class MiddleLevel(InflatedLevel):
    """ResBlock - attention - ResBlock."""

    def forward(self, h: Tensor, p: Pass) -> Tensor:
        h = self.resnets[0](h, p, "mid.resnet.0")
        h = self.attend(h, p, "mid.attention.0", 0)
        h = self.resnets[1](h, p, "mid.resnet.1")
        p.tap("mid", h)
        return h


class UpLevel(InflatedLevel):
    """Decoder level: consumes one skip per ResBlock, from the end of the list."""

    def __init__(self, plan: LevelPlan, spec: UNetSpec) -> None:
        super().__init__(plan, spec)
        self.upsamplers = nn.ModuleList([Upsample(plan.widths[-1][1])] if plan.resample else [])

    def forward(self, h: Tensor, skips: list[Tensor], p: Pass, name: str) -> Tensor:
        for index, resnet in enumerate(self.resnets):
            h = resnet(torch.cat([h, skips.pop()], dim=1), p, f"{name}.resnet.{index}")
            h = self.attend(h, p, f"{name}.attention.{index}", index)
        for upsample in self.upsamplers:
            h = upsample(h, skips[-1].shape[-2:])
        return h
