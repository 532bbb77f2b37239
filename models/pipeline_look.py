"""A public pipeline between two steps: what its picture or its frames seem to become.

The scheduler's estimate of the clean latents, a few of its frames averaged down, through the pipeline's own
autoencoder. How a family lays its latents out is written down here by its class; others are not shown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.clean_estimate import ListenedScheduler
from models.vae import glimpsed, levels

Frames = Callable[[Tensor, Any, int, int], Tensor]
"""(the scheduler's sample, the pipeline, pixels' height and width) -> latent frames (F, C, h, w)."""


def _frames_are_rows(sample: Tensor, _pipeline: Any, _height: int, _width: int) -> Tensor:
    return sample  # one picture (1, C, h, w), or a clip's frames as the rows of a batch


def _frames_come_second(sample: Tensor, _pipeline: Any, _height: int, _width: int) -> Tensor:
    return sample[0]


def _frames_come_third(sample: Tensor, _pipeline: Any, _height: int, _width: int) -> Tensor:
    return sample[0].transpose(0, 1)


def _packed(sample: Tensor, pipeline: Any, height: int, width: int) -> Tensor:
    unpacked: Tensor = pipeline._unpack_latents(sample, height, width, pipeline.vae_scale_factor)
    return unpacked


LAYOUTS: Mapping[str, Frames] = MappingProxyType(
    {
        # to pictures
        "StableDiffusionPipeline": _frames_are_rows,
        "StableDiffusionXLPipeline": _frames_are_rows,
        "StableDiffusion3Pipeline": _frames_are_rows,
        "PixArtAlphaPipeline": _frames_are_rows,
        "PixArtSigmaPipeline": _frames_are_rows,
        "FluxPipeline": _packed,
        # to videos
        "I2VGenXLPipeline": _frames_are_rows,
        "TextToVideoSDPipeline": _frames_are_rows,
        "StableVideoDiffusionPipeline": _frames_come_second,
        "CogVideoXImageToVideoPipeline": _frames_come_second,
        "CogVideoXPipeline": _frames_come_second,
        "LTXImageToVideoPipeline": _frames_come_third,
        "WanImageToVideoPipeline": _frames_come_third,
    }
)
"""By a pipeline's class. LTX's scheduler is never given the first latent frame, which is the keyframe's."""


class PipelineLook:
    """Looks at one pipeline's calls, one after the other."""

    def __init__(self, pipeline: Any) -> None:
        self._pipeline = pipeline
        self._scheduler = ListenedScheduler(pipeline.scheduler)
        self._frames = LAYOUTS.get(type(pipeline).__name__)

    @property
    def sees(self) -> bool:
        """Whether the pipeline's family is one that can be looked at."""
        return self._frames is not None

    def during(self) -> AbstractContextManager[None]:
        """Around a call of the pipeline."""
        return self._scheduler.heard()

    @torch.no_grad()
    def look(self, width: int, height: int) -> NDArray[np.uint8] | None:
        """A few frames uint8 (K, H, W, 3) of what a call for `width` x `height` pixels seems to become.

        None where nothing can be seen (yet). Draws no random number of the pipeline's. Raises NonFinite.
        """
        estimate = self._scheduler.clean()
        if estimate is None or self._frames is None:
            return None
        vae = self._pipeline.vae
        devices = [vae.device] if vae.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):  # some autoencoders draw while they decode
            small = glimpsed(self._frames(estimate, self._pipeline, height, width))
            z = unscaled(vae, small.to(vae.dtype))
            pictures = [_decoded(vae, latent) for latent in z]
        return np.stack([levels(picture / 2 + 0.5)[0].cpu().numpy() for picture in pictures])


def unscaled(vae: Any, z: Tensor) -> Tensor:
    """Latents (F, C, h, w) as a pipeline's networks know them -> as its autoencoder does."""
    scale, shift = (
        getattr(vae.config, "scaling_factor", None) or 1.0,
        getattr(vae.config, "shift_factor", None),
    )
    mean, deviation = (_by_channel(vae, f"latents_{which}", z) for which in ("mean", "std"))
    if mean is not None and deviation is not None:
        return z * deviation / scale + mean
    return z / scale + (shift or 0.0)


def _by_channel(vae: Any, name: str, z: Tensor) -> Tensor | None:
    numbers = dict(vae.named_buffers(recurse=False)).get(name)  # LTX keeps them beside its weights
    numbers = getattr(vae.config, name, None) if numbers is None else numbers
    return (
        None
        if numbers is None
        else torch.as_tensor(numbers, dtype=z.dtype, device=z.device).view(1, -1, 1, 1)
    )


def _decoded(vae: Any, z: Tensor) -> Tensor:
    """One latent frame (C, h, w) -> pixels (1, 3, H, W), about -1 to 1; of films, as if it were the first."""
    kind = type(vae).__name__
    if kind == "AutoencoderKL":
        x: Tensor = vae.decode(z[None]).sample
    elif kind == "AutoencoderKLTemporalDecoder":
        x = vae.decode(z[None], num_frames=1).sample
    else:
        asked = (z.new_zeros(1),) if getattr(vae.config, "timestep_conditioning", False) else ()
        x = vae.decode(z[None, :, None], *asked).sample[:, :, 0]
    return x
