"""Stages of different origin as one model: a painter for stage 1, an animator for stage 2, under one spec."""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from models.orders import PictureOrder, Progress, VideoOrder
from models.origin import Origin
from models.spec import CinemaSpec
from models.stepwise import result_of
from models.thrift import Thrift
from models.vae import Picture
from models.video_families import RenderSpec

if TYPE_CHECKING:  # a model without a picture model needs none of diffusers' pipelines
    from models.diffusers_picture import DiffusersPicture

WARM_UP_STEPS = 2  # some schedulers' first step is of another kind than all others


class Animator(Protocol):
    """Stage 2, or both stages in one. What `animate` makes for an order, its own `decode` takes."""

    @property
    def weight_hash(self) -> str:
        """Names the exact weights."""
        ...

    @property
    def origin(self) -> Origin:
        """Those weights, and the number format of the denoising network."""
        ...

    def economise(self, thrift: Thrift) -> None:
        """Be as sparing with memory as this from the next call on."""
        ...

    def animate(
        self, orders: Sequence[VideoOrder], keyframes: Sequence[Picture]
    ) -> Generator[Progress, None, Any]:
        """One product per order; yields after every step."""
        ...

    def decode(self, latents: Any) -> Iterator[Picture]:
        """One product -> its frames uint8 (H, W, 3)."""
        ...


class Painter(Protocol):
    """Stage 1."""

    @property
    def weight_hash(self) -> str:
        """Names the exact weights."""
        ...

    @property
    def origin(self) -> Origin:
        """Those weights, and the number format of the denoising network."""
        ...

    def economise(self, thrift: Thrift) -> None:
        """Be as sparing with memory as this from the next call on."""
        ...

    def paint(self, orders: Sequence[PictureOrder]) -> Generator[Progress, None, list[Picture]]:
        """One picture per order; yields after every step."""
        ...


class Stages:
    """A model put together from parts: what the worker serves when it is not a MicroCinema as it stands.

    `painter` None: the video comes from the text alone, or every order brings its picture.
    """

    def __init__(self, spec: CinemaSpec | RenderSpec, painter: Painter | None, animator: Animator) -> None:
        self.spec, self._painter, self._animator = spec, painter, animator
        hashes = dict.fromkeys(part.weight_hash for part in (painter, animator) if part is not None)
        joined = " ".join(hashes)
        # One part, or one that does both: its own hash, so that a new name alone is not new weights.
        self.weight_hash = joined if len(hashes) == 1 else hashlib.sha256(joined.encode()).hexdigest()

    @property
    def origins(self) -> tuple[Origin | None, Origin]:
        """Of stage 1 (None: it paints no pictures) and of stage 2."""
        return None if self._painter is None else self._painter.origin, self._animator.origin

    def economise(self, thrift: Thrift) -> None:
        """Both stages are told; a part that is both is told once."""
        for part in {id(part): part for part in (self._painter, self._animator) if part is not None}.values():
            part.economise(thrift)

    def warm_up(self) -> None:
        """Run every network at the first size and the shortest length, before the first client waits."""
        spec, (width, height) = self.spec, self.spec.sizes[0]
        keyframes: list[Picture] = []
        if self._painter is not None:
            picture = PictureOrder("warm up", "", 0, WARM_UP_STEPS, spec.picture_guidance, width, height)
            keyframes = result_of(self._painter.paint([picture]))
        elif spec.abilities.keyframe is not None:
            keyframes = [np.full((height, width, 3), 128, np.uint8)]
        video = VideoOrder(
            prompt="warm up",
            negative_prompt="",
            seed=0,
            steps=WARM_UP_STEPS,
            guidance_scale=spec.video_guidance,
            gamma=spec.noise_prior_gamma,
            num_frames=spec.frames.minimum,
            width=width,
            height=height,
        )
        next(self.decode(result_of(self._animator.animate([video], keyframes))[0]))

    def paint(self, orders: Sequence[PictureOrder]) -> Generator[Progress, None, list[Picture]]:
        """Stage 1. Raises ValueError for a model that has none: its orders bring their pictures."""
        if self._painter is None:
            raise ValueError(f"{self.spec.name} paints no pictures")
        return self._painter.paint(orders)

    def animate(
        self, orders: Sequence[VideoOrder], keyframes: Sequence[Picture]
    ) -> Generator[Progress, None, Any]:
        """Stage 2; `keyframes` is empty for a model that takes none."""
        return self._animator.animate(orders, keyframes)

    def decode(self, latents: Any) -> Iterator[Picture]:
        """What `animate` made for one order -> its frames."""
        return self._animator.decode(latents)


def with_painter(spec: CinemaSpec | RenderSpec, painter: DiffusersPicture) -> CinemaSpec | RenderSpec:
    """The spec of a model whose keyframes `painter` makes. Raises ValueError if it takes no keyframe."""
    able = spec.abilities
    if able.keyframe is None:
        raise ValueError(f"{spec.name} makes videos from the text alone: it has no use for a picture model")
    steps, guidance = painter.steps, painter.guidance_scale
    if isinstance(spec, CinemaSpec):
        return replace(spec, picture_steps=steps, picture_guidance=guidance)
    able = replace(able, paints=True, negative_prompt=able.negative_prompt or painter.negative_prompt)
    return replace(spec, picture_steps=steps, picture_guidance=guidance, abilities=able)
