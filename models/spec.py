"""Sizes of every network we build, as frozen values: the only place where an architecture is chosen.

Torch-free, so that a table of models can be read without loading one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from models.abilities import MICROCINEMA, Abilities


@dataclass(frozen=True)
class UNetSpec:
    """A Stable Diffusion UNet and, by the same numbers, its inflation to video (Rombach et al. 2022).

    One entry of `channels`, `attention` and `heads` per resolution level, shallowest first.
    """

    latent_channels: int
    latent_size: int  # side of the latent the picture model was trained at
    channels: tuple[int, ...]
    attention: tuple[bool, ...]  # does this level have transformers? SD: all but the deepest
    heads: tuple[int, ...]
    layers: int  # ResBlocks per encoder level; the decoder has one more
    text_width: int
    norm_groups: int = 32
    linear_projection: bool = True  # SD 2.x; SD 1.x uses 1x1 convolutions with the same meaning

    def __post_init__(self) -> None:
        levels = len(self.channels)
        if not levels == len(self.attention) == len(self.heads):
            raise ValueError(
                f"channels, attention and heads need one entry per level, got {levels}, "
                f"{len(self.attention)} and {len(self.heads)}"
            )
        for width, heads in zip(self.channels, self.heads, strict=True):
            if width % self.norm_groups or width % heads:
                raise ValueError(
                    f"channels {width} must be a multiple of norm_groups {self.norm_groups} and heads {heads}"
                )

    @property
    def levels(self) -> int:
        return len(self.channels)

    @property
    def time_width(self) -> int:
        return 4 * self.channels[0]


@dataclass(frozen=True)
class FrameRule:
    """Which frame counts a model makes: `minimum`, `minimum + step`, ... up to `maximum`."""

    minimum: int
    maximum: int
    default: int
    step: int = 1

    def __post_init__(self) -> None:
        if self.minimum < 1 or self.step < 1:
            raise ValueError(f"frames minimum {self.minimum} and step {self.step} must both be at least 1")
        if not self.allows(self.default):
            raise ValueError(
                f"frames default {self.default} must be one of {self.minimum} to {self.maximum} in steps of "
                f"{self.step}"
            )

    def allows(self, frames: int) -> bool:
        return self.minimum <= frames <= self.maximum and (frames - self.minimum) % self.step == 0


@dataclass(frozen=True)
class Vocabulary:
    """The words of all captions that a model was trained on, in lower case, each once.

    telling: words that choose something in the video (red, circle, left). filler: the words around
    them (a, on, moving).
    """

    telling: tuple[str, ...]
    filler: tuple[str, ...]


@dataclass(frozen=True)
class CinemaSpec:
    """Everything about a released two-stage model that is not a weight."""

    name: str
    unet: UNetSpec
    vae_factor: int  # pixels per latent cell, along one side
    sizes: tuple[tuple[int, int], ...]  # (width, height) in pixels, default first
    frames: FrameRule
    fps: int  # the rate of the training clips
    picture_steps: int  # denoising steps of stage 1
    picture_guidance: float
    video_steps: int  # default denoising steps of stage 2
    video_guidance: float
    noise_prior_lambda: float = 0.03  # weight of z^c in the training noise
    noise_prior_gamma: float = 0.02  # default weight of z^c in the starting latents
    description: str = ""
    license: str = "Apache-2.0"
    vocabulary: Vocabulary | None = None  # None: the captions are not known, as for Stable Diffusion

    @property
    def abilities(self) -> Abilities:
        """The same for every size of the architecture."""
        return MICROCINEMA

    def latent_shape(self, width: int, height: int) -> tuple[int, int, int]:
        """(C, h, w) of one latent frame; a size that the VAE cannot make is an error naming it."""
        if width % self.vae_factor or height % self.vae_factor:
            raise ValueError(f"size {width}x{height}: both sides must be multiples of {self.vae_factor}")
        return self.unet.latent_channels, height // self.vae_factor, width // self.vae_factor


NANO = CinemaSpec(
    name="nano",
    unet=UNetSpec(
        latent_channels=4,
        latent_size=8,
        channels=(8, 16),
        attention=(True, False),
        heads=(2, 2),
        layers=1,
        text_width=16,
        norm_groups=4,
    ),
    vae_factor=4,
    sizes=((32, 32),),
    frames=FrameRule(minimum=2, maximum=8, default=4),
    fps=8,
    picture_steps=2,
    picture_guidance=2.0,
    video_steps=2,
    video_guidance=2.0,
    description="Random weights in the real layout: for tests, makes coloured noise.",
)

MICRO = CinemaSpec(
    name="microcinema-micro",
    unet=UNetSpec(
        latent_channels=16,
        latent_size=8,
        channels=(64, 112),
        attention=(True, False),
        heads=(4, 4),
        layers=1,
        text_width=64,
        norm_groups=16,
    ),
    vae_factor=8,
    sizes=((64, 64),),
    frames=FrameRule(minimum=16, maximum=16, default=16),
    fps=8,
    picture_steps=25,
    picture_guidance=4.0,
    video_steps=25,
    video_guidance=1.5,
    description="Trained by this project on a procedural world of moving shapes; runs on a CPU.",
)

SD21 = CinemaSpec(
    name="microcinema-sd21",
    unet=UNetSpec(
        latent_channels=4,
        latent_size=64,
        channels=(320, 640, 1280, 1280),
        attention=(True, True, True, False),
        heads=(5, 10, 20, 20),
        layers=2,
        text_width=1024,
    ),
    vae_factor=8,
    sizes=((320, 320), (448, 448), (512, 512)),
    frames=FrameRule(minimum=8, maximum=32, default=16),
    fps=4,
    picture_steps=25,
    picture_guidance=7.5,
    video_steps=25,
    video_guidance=7.5,
    description="Stable Diffusion 2.1-base inflated to video; the paper released no weights for it.",
    license="OpenRAIL++-M",
)

SD15 = replace(
    SD21,
    name="microcinema-sd15",
    unet=replace(SD21.unet, heads=(8, 8, 8, 8), text_width=768, linear_projection=False),
    description="Stable Diffusion 1.5 inflated to video; the paper released no weights for it.",
    license="CreativeML Open RAIL-M",
)

SPECS: dict[str, CinemaSpec] = {spec.name: spec for spec in (NANO, MICRO, SD21, SD15)}
