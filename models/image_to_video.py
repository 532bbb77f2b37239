"""Stage 2: a picture and its prompt to a clip whose centre frame is the picture.

Shapes: latents (B, F, C, h, w), keyframe latents z^c (B, C, h, w), both float32.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.checkpoint import belongings, read_checkpoint, write_checkpoint
from models.denoiser import VideoDenoiser
from models.errors import NonFiniteLatents
from models.finite import check_finite
from models.guidance import Guidance
from models.noise_prior import with_appearance
from models.orders import Progress, VideoOrder
from models.residency import HOST, Residency
from models.sampler import SAMPLERS, SampleStep, Start
from models.schedule import Schedule
from models.seeds import VIDEO_STREAM, seeded_noise
from models.text import TextEncoder
from models.vae import Picture, PictureCodec


class ImageToVideo:
    """MicroCinema's image-and-text-to-video network under a deterministic sampler."""

    def __init__(
        self,
        denoiser: VideoDenoiser,
        text: TextEncoder,
        codec: PictureCodec,
        schedule: Schedule,
        residency: Residency | None = None,
        weight_hash: str = "",
    ) -> None:
        self._denoiser = denoiser
        self._text = text
        self._codec = codec
        self._schedule = schedule
        self._residency = residency or Residency(HOST)
        self._weight_hash = weight_hash

    def animate(
        self, orders: Sequence[VideoOrder], keyframes: Sequence[Picture]
    ) -> Generator[Progress, None, Tensor]:
        """Latents of one clip per order (same steps, size, frames and sampler); yields every step.

        Raises NonFiniteLatents instead of returning a clip that would decode to black frames, and before the
        first step CheckpointUnfit for an `after` of another run, ValueError for one in a batch.
        """
        first = orders[0]
        z_c = self._codec.encode(keyframes)
        belongs = [belongings(o, k, self._weight_hash) for o, k in zip(orders, keyframes, strict=True)]
        start = self._start(orders, z_c, belongs)
        text = self._text.encode([order.prompt for order in orders])
        empty = self._text.encode([order.negative_prompt for order in orders])

        # from here on the denoiser alone works: text encoder, autoencoder and stage 1 may make room
        self._residency.only(self._denoiser.appearnet)
        shows = not self._residency.park_idle  # else the autoencoder is on the host

        @torch.inference_mode()
        def with_keyframe(z_t: Tensor, t: int, words: Tensor) -> Tensor:
            copies = z_t.shape[0] // z_c.shape[0]  # 2 under guidance: z^c stays in both branches
            steps = torch.full((z_t.shape[0],), t, device=z_t.device)
            eps: Tensor = self._denoiser(z_t, z_c.repeat(copies, 1, 1, 1), steps, words)
            return eps

        scales = tuple(order.guidance_scale for order in orders)
        guidance = Guidance(scales, first.guidance_low, first.guidance_high)
        denoise = guidance.bind(with_keyframe, text, empty, self._schedule.train_steps)
        z = start.z if isinstance(start, SampleStep) else start
        for step in SAMPLERS[first.sampler](denoise, start, self._schedule, first.steps):
            z = step.z
            look = partial(self._look, step) if shows else None
            yield Progress(step.index, step.steps, partial(_keep, step, belongs), look)
        check_finite(
            z,
            NonFiniteLatents,
            f"the latents of {first.num_frames} frames at {first.width}x{first.height} are not finite "
            f"after {first.steps} steps",
        )
        return z

    def _start(
        self, orders: Sequence[VideoOrder], z_c: Tensor, belongs: Sequence[Mapping[str, str]]
    ) -> Start:
        """Noise that leans towards the keyframes, or the step behind which the one order goes on."""
        first, shape = orders[0], (orders[0].num_frames, *z_c.shape[1:])
        if all(order.after is None for order in orders):
            z = seeded_noise([o.seed for o in orders], shape, VIDEO_STREAM).to(z_c.device)
            # gamma may differ inside a batch: it only moves the starting point
            moved = [with_appearance(z[i : i + 1], z_c[i : i + 1], o.gamma) for i, o in enumerate(orders)]
            return torch.cat(moved)
        if len(orders) > 1 or first.after is None:
            raise ValueError(f"an order that goes on behind a step runs alone, got {len(orders)}")
        step = read_checkpoint(first.after, (1, *shape), belongs[0])
        return replace(step, z=step.z.to(z_c.device), x_0=step.x_0.to(z_c.device))

    def _look(self, step: SampleStep, row: int) -> NDArray[np.uint8]:
        return self._codec.glimpse(step.x_0[row])

    def decode(self, latents: Tensor, chunk: int = 1) -> Iterator[Picture]:
        """One clip's latents (F, C, h, w) -> its frames one by one, `chunk` of them decoded together."""
        return self._codec.decode_clip(latents, chunk)


def _keep(step: SampleStep, belongs: Sequence[Mapping[str, str]], row: int) -> bytes:
    return write_checkpoint(step, row, belongs[row])
