"""A public pipeline between two steps: what its picture or its frames seem to become.

The scheduler's estimate of the clean latents, a few of its frames averaged down, through the pipeline's own
autoencoder. How a family lays its latents out is written down here by its class; others are not shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.clean_estimate import CleanEstimate
from models.vae import glimpse_of, levels, shrunk

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

#: The pipeline puts its autoencoder into float32 to decode, where `force_upcast` says that float16 overflows.
UPCASTS = ("StableDiffusionXLPipeline",)
#: Autoencoders of single frames, and what else they are told; the others fold frames in time and look back.
OF_FRAMES: Mapping[str, Mapping[str, int]] = MappingProxyType(
    {"AutoencoderKL": {}, "AutoencoderKLTemporalDecoder": {"num_frames": 1}}
)


class PipelineLook:
    """Looks at one pipeline's calls, one after the other."""

    def __init__(self, pipeline: Any) -> None:
        self._pipeline = pipeline
        self._estimate = CleanEstimate(pipeline.scheduler)
        self._frames = LAYOUTS.get(type(pipeline).__name__)

    @property
    def sees(self) -> bool:
        """Whether there is anything to see.

        Not of a family or a scheduler that is not known here, nor of a pipeline whose own safety checker has
        the last word on its picture: it speaks behind the last step.
        """
        judged = getattr(self._pipeline, "safety_checker", None) is not None
        return self._frames is not None and CleanEstimate.known(self._pipeline.scheduler) and not judged

    def during(self) -> AbstractContextManager[None]:
        """Around a call of the pipeline."""
        return self._estimate.watching()

    @torch.no_grad()
    def look(self, width: int, height: int) -> NDArray[np.uint8] | None:
        """A few frames uint8 (K, H, W, 3) of what a call for `width` x `height` pixels seems to become.

        None where nothing can be seen (yet), or the autoencoder lies elsewhere. Draws no random number of
        the pipeline's. Raises NonFinite.
        """
        clean, vae = self._estimate.newest(), self._pipeline.vae
        if clean is None or self._frames is None or clean.device != vae.device:
            return None
        devices = [vae.device] if vae.device.type == "cuda" else []
        # some autoencoders draw while they decode
        with torch.random.fork_rng(devices=devices), self._ready_to_decode():
            z = self._frames(clean, self._pipeline, height, width)
            x = torch.cat([_pixels(vae, z, at) for at in glimpse_of(len(z))])
        frames: NDArray[np.uint8] = levels(x / 2 + 0.5).cpu().numpy()
        return frames

    @contextmanager
    def _ready_to_decode(self) -> Iterator[None]:
        """As the pipeline does it, and back again: no weight changes by it."""
        vae = self._pipeline.vae
        upcasts = type(self._pipeline).__name__ in UPCASTS and vae.config.get("force_upcast")
        if vae.dtype != torch.float16 or not upcasts:
            yield
            return
        vae.to(torch.float32)
        try:
            yield
        finally:
            vae.to(torch.float16)


def _pixels(vae: Any, z: Tensor, at: int) -> Tensor:
    """Frame `at` of latents (F, C, h, w), made small -> (1, 3, H, W), about -1 to 1.

    Where the autoencoder looks back it is given the frame before, too, and the last that comes of both is it.
    """
    told = OF_FRAMES.get(type(vae).__name__)
    if told is not None:
        return _decoded(vae, unscaled(vae, shrunk(z[at, None])), **told)
    window = unscaled(vae, shrunk(z[max(0, at - 1) : at + 1]))
    asked = {"temb": z.new_zeros(1)} if vae.config.get("timestep_conditioning") else {}
    return _decoded(vae, window.transpose(0, 1)[None], **asked)[:, :, -1]


def unscaled(vae: Any, z: Tensor) -> Tensor:
    """Latents (F, C, h, w) as a pipeline's networks know them -> as its autoencoder does, in its format."""
    z = z.float()
    mean, deviation = (_by_channel(vae, f"latents_{which}", z) for which in ("mean", "std"))
    z = (z if deviation is None else z * deviation) / float(vae.config.get("scaling_factor") or 1)
    z = (z if mean is None else z + mean) + float(vae.config.get("shift_factor") or 0)
    return z.to(vae.dtype)


def _by_channel(vae: Any, name: str, z: Tensor) -> Tensor | None:
    numbers = dict(vae.named_buffers(recurse=False)).get(name)  # LTX keeps them beside its weights
    numbers = vae.config.get(name) if numbers is None else numbers
    return None if numbers is None else torch.as_tensor(numbers).to(z).view(1, -1, 1, 1)


def _decoded(vae: Any, z: Tensor, **told: int | Tensor) -> Tensor:
    x: Tensor = vae.decode(z, return_dict=False, **told)[0]
    return x
