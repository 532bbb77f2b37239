"""Stage 1: a prompt to a picture, by any Stable Diffusion in the diffusers folder layout."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from functools import partial

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from numpy.typing import NDArray
from torch import Tensor

from models.errors import NonFiniteLatents
from models.finite import check_finite
from models.guidance import Guidance
from models.orders import PictureOrder, Progress
from models.precision import PrecisionBorder
from models.sampler import SampleStep, ddim
from models.schedule import Schedule
from models.seeds import PICTURE_STREAM, seeded_noise
from models.text import TextEncoder
from models.vae import Picture, PictureCodec


class TextToImage:
    """Text encoder, 2D UNet and VAE under our own loop: step by step, seed by seed, as stage 2 runs."""

    def __init__(
        self,
        unet: UNet2DConditionModel,
        text: TextEncoder,
        codec: PictureCodec,
        schedule: Schedule,
        factor: int,
    ) -> None:
        self._unet = unet
        self._text = text
        self._codec = codec
        self._schedule = schedule
        self._factor = factor  # pixels per latent cell, along one side

    def paint(self, orders: Sequence[PictureOrder]) -> Generator[Progress, None, list[Picture]]:
        """One picture per order; orders share size, steps and guidance. Yields after every step.

        Raises NonFiniteLatents and NonFinitePixels: stage 2 would animate a black picture faithfully.
        """
        first = orders[0]
        shape = (self._unet.config.in_channels, first.height // self._factor, first.width // self._factor)
        z = seeded_noise([order.seed for order in orders], shape, PICTURE_STREAM)
        return (yield from self.paint_from(z, orders))

    def paint_from(
        self, z: Tensor, orders: Sequence[PictureOrder]
    ) -> Generator[Progress, None, list[Picture]]:
        """The same from given starting latents z (B, C, h, w): what the tests compare with diffusers."""
        first = orders[0]
        text = self._text.encode([order.prompt for order in orders])
        empty = self._text.encode([order.negative_prompt for order in orders])
        guidance = Guidance(first.guidance_scale)
        denoise = guidance.bind(self._denoise, text, empty, self._schedule.train_steps)
        for step in ddim(denoise, z.to(self._unet.device), self._schedule, first.steps):
            z = step.z
            yield Progress(step.index, step.steps, look=partial(self._look, step))
        check_finite(
            z,
            NonFiniteLatents,
            f"the latents of the picture at {first.width}x{first.height} are not finite after "
            f"{first.steps} steps",
        )
        return [self._codec.decode(latent) for latent in z]

    def _look(self, step: SampleStep, row: int) -> NDArray[np.uint8]:
        return self._codec.glimpse(step.x_0[row, None])

    @torch.inference_mode()
    def _denoise(self, z: Tensor, t: int, text: Tensor) -> Tensor:
        border = PrecisionBorder(self._unet.dtype)
        eps: Tensor = self._unet(border.latents(z), t, border.condition(text)).sample
        return border.outward(eps)
