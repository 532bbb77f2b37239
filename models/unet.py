"""The main network: a Stable Diffusion UNet inflated to 3D, taking appearance in encoder and decoder.

Shapes: B batch, F frames, C latent channels, H W latent size, L text tokens, D text width.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch.nn.functional as F
from torch import Tensor, nn

from models.blocks.inflated import DownLevel, LevelPlan, MiddleLevel, Pass, UpLevel
from models.blocks.spatial import TimeEmbedding
from models.pairing import pairing, source_channels
from models.spec import UNetSpec


class InflatedEncoder(nn.Module):
    """conv_in, time embedding, encoder levels and middle: the part that AppearNet has a copy of.

    `sources` maps injected blocks to AppearNet blocks (`models.pairing`); empty for AppearNet itself.
    `recompute` set to True saves memory in training, at the price of a second forward pass (`Pass`).
    """

    recompute = False

    def __init__(self, spec: UNetSpec, sources: Mapping[str, str]) -> None:
        super().__init__()
        self.spec = spec
        self._sources = sources
        self.conv_in = nn.Conv2d(spec.latent_channels, spec.channels[0], 3, padding=1)
        self.time_embedding = TimeEmbedding(spec.channels[0], spec.time_width)
        self.down_blocks = nn.ModuleList(DownLevel(self._down_plan(i), spec) for i in range(spec.levels))
        deepest = spec.channels[-1]
        middle = LevelPlan(
            widths=((deepest, deepest), (deepest, deepest)),
            heads=spec.heads[-1],
            resnet_sources=(None, None),
            attention_sources=(None,),
        )
        self.mid_block = MiddleLevel(middle, spec)

    def encode(self, h: Tensor, p: Pass) -> tuple[Tensor, list[Tensor]]:
        """h = conv_in's output ((B F), C0, H, W) -> middle output and the decoder's skips, deepest last."""
        skips = [h]
        for level, block in enumerate(self.down_blocks):
            h, more = block(h, p, f"down.{level}")
            skips += more
        return self.mid_block(h, p), skips

    def _channels(self, name: str) -> int | None:
        source = self._sources.get(name)
        return None if source is None else source_channels(self.spec, source)

    def _down_plan(self, level: int) -> LevelPlan:
        spec, width = self.spec, self.spec.channels[level]
        below = spec.channels[max(level - 1, 0)]
        return LevelPlan(
            widths=tuple((below if layer == 0 else width, width) for layer in range(spec.layers)),
            heads=spec.heads[level],
            resnet_sources=tuple(self._channels(f"down.{level}.resnet.{n}") for n in range(spec.layers)),
            attention_sources=tuple(
                self._channels(f"down.{level}.attention.{n}")
                for n in range(spec.layers)
                if spec.attention[level]
            ),
            resample=level < spec.levels - 1,
        )


class InflatedUNet(InflatedEncoder):
    """eps_hat = net(z_t, t, text, appearance); takes z_t only, the keyframe comes through `appearance`.

    At initialisation every temporal and fusion path is silent and the network is the 2D UNet, frame by
    frame (tests/golden/test_inflation.py).
    """

    def __init__(self, spec: UNetSpec) -> None:
        self.pairs = pairing(spec)
        super().__init__(spec, self.pairs)
        self.up_blocks = nn.ModuleList(UpLevel(self._up_plan(k), spec) for k in range(spec.levels))
        self.conv_norm_out = nn.GroupNorm(spec.norm_groups, spec.channels[0])
        self.conv_out = nn.Conv2d(spec.channels[0], spec.latent_channels, 3, padding=1)

    def forward(
        self, z: Tensor, t: Tensor, text: Tensor, embeddings: Mapping[str, Tensor] | None = None
    ) -> Tensor:
        """z (B, F, C, H, W), t (B,), text (B, L, D), `embeddings` from AppearNet -> eps_hat like z."""
        frames = z.shape[1]
        appearance = {}
        if embeddings is not None:
            appearance = {target: embeddings[source] for target, source in self.pairs.items()}
        time = self.time_embedding(t)
        p = Pass(time, text, frames, appearance=appearance, recompute=self.recompute)
        h, skips = self.encode(self.conv_in(z.flatten(0, 1)), p)
        for k, block in enumerate(self.up_blocks):
            h = block(h, skips, p, f"up.{k}")
        h = self.conv_out(F.silu(self.conv_norm_out(h)))
        return h.unflatten(0, z.shape[:2])

    def _up_plan(self, k: int) -> LevelPlan:
        spec = self.spec
        level = spec.levels - 1 - k
        width = spec.channels[level]
        above = spec.channels[min(level + 1, spec.levels - 1)]  # what comes up from the deeper level
        below = spec.channels[max(level - 1, 0)]  # what the last skip of this level carries
        layers = spec.layers + 1
        carried = [above, *[width] * spec.layers]
        skipped = [*[width] * spec.layers, below]
        return LevelPlan(
            widths=tuple((a + b, width) for a, b in zip(carried, skipped, strict=True)),
            heads=spec.heads[level],
            resnet_sources=tuple(self._channels(f"up.{k}.resnet.{n}") for n in range(layers)),
            attention_sources=tuple(
                self._channels(f"up.{k}.attention.{n}") for n in range(layers) if spec.attention[level]
            ),
            resample=level > 0,
        )


def is_added(name: str) -> bool:
    """Was this parameter added by inflation (temporal or fusion), or is it Stable Diffusion's own?"""
    return any(part.startswith(("temporal", "fusion")) for part in name.split("."))


def spatial_parameters(net: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """The parameters that carry diffusers' names."""
    return ((name, weight) for name, weight in net.named_parameters() if not is_added(name))
