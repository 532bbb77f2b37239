"""Both stages of MicroCinema, loaded once and resident together.

For researchers, with neither Redis nor HTTP:

    film = Cinema.load("models/micro")("a red circle moving left on a white background", seed=7)
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.denoiser import VideoDenoiser
from models.image_to_video import ImageToVideo
from models.orders import PictureOrder, Progress, VideoOrder
from models.origin import Origin, format_name
from models.precision import choose_device, network_dtype
from models.residency import Residency
from models.sampler import SAMPLERS
from models.spec import CinemaSpec
from models.stepwise import result_of
from models.text import TextEncoder
from models.text_to_image import TextToImage
from models.thrift import Thrift
from models.vae import Picture, PictureCodec
from models.weights import Parts, load_parts

MICRO_WEIGHTS = Path(__file__).parent / "micro"


@dataclass(frozen=True)
class Film:
    """A finished video: frames uint8 (F, H, W, 3), its keyframe (H, W, 3) and the digest of the frames."""

    frames: NDArray[np.uint8]
    keyframe: Picture
    digest: str


def frame_digest(frames: Iterable[Picture]) -> str:
    """sha256 of the uint8 frames in F H W C order: what "the same video" means, whatever the encoder does."""
    digest = hashlib.sha256()
    for frame in frames:
        digest.update(np.ascontiguousarray(frame).tobytes())
    return digest.hexdigest()


class Cinema:
    """Text -> picture -> video with both networks in memory."""

    def __init__(self, parts: Parts, device: torch.device) -> None:
        self.spec: CinemaSpec = parts.spec
        self.weight_hash = parts.weight_hash
        self.device = device
        #: Of both stages: they share their spatial weights.
        self.origin = Origin(parts.weight_hash, format_name(network_dtype(device)))
        text = TextEncoder(parts.tokenizer, parts.text_encoder)
        codec = PictureCodec(parts.vae)
        self._stage_one = TextToImage(parts.unet, text, codec, parts.schedule, parts.spec.vae_factor)
        denoiser = VideoDenoiser(parts.main, parts.appearnet)
        # Not the main network: its spatial tensors are stage 1's UNet too, and neither may leave alone.
        self._borders = parts.text_encoder, parts.vae
        self._residency = Residency(device, parts.text_encoder, parts.vae, parts.appearnet)
        self._thrift = Thrift()
        self._stage_two = ImageToVideo(
            denoiser, text, codec, parts.schedule, self._residency, parts.weight_hash
        )

    @classmethod
    def load(cls, path: str | Path = MICRO_WEIGHTS, *, device: str | None = None) -> Cinema:
        """Load a weights folder (`models.weights`); `device` None takes the GPU when there is one."""
        where = choose_device(device or "auto")
        return cls(load_parts(Path(path), where, network_dtype(where)), where)

    @property
    def origins(self) -> tuple[Origin, Origin]:
        """Of stage 1 and stage 2."""
        return self.origin, self.origin

    def economise(self, thrift: Thrift) -> None:
        """Be as sparing with the device's memory as this, from the next stage on.

        With `park_idle` text encoder and autoencoder wait on the host while the denoiser runs, and AppearNet
        while it does not.
        """
        self._thrift = thrift
        self._residency.park_idle = thrift.park_idle

    def warm_up(self) -> None:
        """Run each network once at every size, so that the first client does not wait for lazy set-up."""
        for width, height in self.spec.sizes:
            picture = PictureOrder("warm up", "", 0, 1, self.spec.picture_guidance, width, height)
            keyframes = result_of(self.paint([picture]))
            video = VideoOrder(
                prompt="warm up",
                negative_prompt="",
                seed=0,
                steps=1,
                guidance_scale=self.spec.video_guidance,
                gamma=self.spec.noise_prior_gamma,
                num_frames=self.spec.frames.default,
                width=width,
                height=height,
            )
            latents = result_of(self.animate([video], keyframes))
            next(self.decode(latents[0]))

    def paint(self, orders: Sequence[PictureOrder]) -> Generator[Progress, None, list[Picture]]:
        """Stage 1: one picture uint8 (H, W, 3) per order; yields after every step."""
        self._residency.only(*self._borders)
        return self._stage_one.paint(orders)

    def animate(
        self, orders: Sequence[VideoOrder], keyframes: Sequence[Picture]
    ) -> Generator[Progress, None, Tensor]:
        """Stage 2: latents (B, F, C, h, w) float32, one clip per order; yields after every step."""
        self._residency.only(*self._borders)
        return self._stage_two.animate(orders, keyframes)

    def decode(self, latents: Tensor) -> Iterator[Picture]:
        """One clip's latents (F, C, h, w) -> frames uint8 (H, W, 3), one at a time."""
        self._residency.only(*self._borders)
        return self._stage_two.decode(latents, self._thrift.decode_chunk)

    def __call__(
        self,
        prompt: str,
        seed: int,
        *,
        negative_prompt: str = "",
        keyframe: Picture | None = None,
        steps: int | None = None,
        guidance_scale: float | None = None,
        gamma: float | None = None,
        num_frames: int | None = None,
        sampler: str = "dpm++2m",
    ) -> Film:
        """The whole way at the model's first size; a given `keyframe` (H, W, 3) takes stage 1's place.

        Raises ValueError for a keyframe of another size or a sampler that there is none of.
        """
        spec = self.spec
        width, height = spec.sizes[0]
        if sampler not in SAMPLERS:
            raise ValueError(f"sampler {sampler!r} must be one of {', '.join(SAMPLERS)}")
        if keyframe is not None and (keyframe.shape != (height, width, 3) or keyframe.dtype != np.uint8):
            raise ValueError(
                f"keyframe must be uint8 {(height, width, 3)}, got {keyframe.dtype} {keyframe.shape}"
            )
        if keyframe is None:
            picture = PictureOrder(
                prompt, negative_prompt, seed, spec.picture_steps, spec.picture_guidance, width, height
            )
            keyframe = result_of(self.paint([picture]))[0]
        video = VideoOrder(
            prompt=prompt,
            negative_prompt=negative_prompt,
            seed=seed,
            steps=spec.video_steps if steps is None else steps,
            guidance_scale=spec.video_guidance if guidance_scale is None else guidance_scale,
            gamma=spec.noise_prior_gamma if gamma is None else gamma,
            num_frames=spec.frames.default if num_frames is None else num_frames,
            width=width,
            height=height,
            sampler=sampler,
        )
        latents = result_of(self.animate([video], [keyframe]))[0]
        frames = np.stack(list(self.decode(latents)))
        return Film(frames, keyframe, frame_digest(frames))
