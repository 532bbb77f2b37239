"""The Stable Diffusion families that can be inflated, and what a single file of theirs does not say.

A folder in the diffusers layout carries a config for each network; a single file in the original layout
carries tensors only, so the sizes of its autoencoder and text encoder are written down here. Torch-free.

Sources: the configs that were released with Stable Diffusion 1.5 and 2.1-base; CLIP ViT-L/14 (Radford et
al. 2021) and OpenCLIP ViT-H/14 (Cherti et al. 2023), of which 2.x reads the last layer but one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from models.spec import SD15, SD21, CinemaSpec


@dataclass(frozen=True)
class AutoencoderSpec:
    """Stable Diffusion's KL autoencoder; one entry of `channels` per level, shallowest first."""

    channels: tuple[int, ...] = (128, 256, 512, 512)
    layers: int = 2  # ResBlocks per encoder level
    norm_groups: int = 32
    scaling_factor: float = 0.18215


@dataclass(frozen=True)
class TextEncoderSpec:
    """A CLIP text transformer; `layout` is how a single file names and packs its tensors."""

    layout: Literal["clip", "open_clip"]
    layers: int  # that are run
    heads: int
    activation: Literal["quick_gelu", "gelu"]
    vocabulary: int = 49408
    length: int = 77  # tokens of a prompt, begin and end included


@dataclass(frozen=True)
class PictureFamily:
    """One row of the table: a text-to-image family and the video model that it is inflated to.

    `always_epsilon`: no file of this family predicts velocity, so that one that says nothing can be
    believed. 2.x files look the same, tensor by tensor, whether they predict noise or velocity.
    """

    title: str
    cinema: CinemaSpec
    text: TextEncoderSpec
    always_epsilon: bool
    autoencoder: AutoencoderSpec = AutoencoderSpec()


FAMILIES: dict[str, PictureFamily] = {
    SD21.name: PictureFamily(
        title="Stable Diffusion 2.1-base",
        cinema=SD21,
        text=TextEncoderSpec(layout="open_clip", layers=23, heads=16, activation="gelu"),
        always_epsilon=False,
    ),
    SD15.name: PictureFamily(
        title="Stable Diffusion 1.5",
        cinema=SD15,
        text=TextEncoderSpec(layout="clip", layers=12, heads=12, activation="quick_gelu"),
        always_epsilon=True,
    ),
}
