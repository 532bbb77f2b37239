"""What the autoencoder alone costs: PSNR on held-out frames, and the oracle's score behind it.

No film can be better than its autoencoder, so this is the ceiling of every other figure.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.evaluation.fidelity import psnr
from models.evaluation.oracle import Verdict, judge
from models.evaluation.score import Tally, tallies
from models.evaluation.silhouette import Pixels
from models.spec import CinemaSpec
from models.training.h264 import round_trip
from models.training.world import BACKGROUNDS, Scene, render
from models.vae import PictureCodec


@dataclass(frozen=True)
class Reconstruction:
    """PSNR over all pixels and over the object's, and the oracle on decoded, compressed videos."""

    frames: int
    psnr_db: float
    object_psnr_db: float
    oracle: dict[str, Tally]


def reconstruct(codec: PictureCodec, scenes: Sequence[Scene], spec: CinemaSpec) -> Reconstruction:
    """Put renderings of the scenes through the autoencoder and measure what is left of them."""
    clips = [render(scene, spec.frames.default, spec.sizes[0][0]) for scene in scenes]
    decoded = [through(codec, clip) for clip in clips]
    pairs = [
        (
            Verdict(scene.color, scene.shape, scene.background, scene.motion),
            judge(round_trip(clip, spec.fps)),
        )
        for scene, clip in zip(scenes, decoded, strict=True)
    ]
    backgrounds = np.asarray([BACKGROUNDS[scene.background] for scene in scenes], dtype=np.uint8)
    original, after = np.stack(clips), np.stack(decoded)  # (N, F, H, W, 3)
    on_object = (original != backgrounds[:, None, None, None]).any(axis=-1)
    return Reconstruction(
        frames=original.shape[0] * original.shape[1],
        psnr_db=psnr(after, original),
        object_psnr_db=psnr(after, original, on_object),
        oracle=tallies(pairs),
    )


def through(codec: PictureCodec, frames: Pixels) -> Pixels:
    """Frames (F, H, W, 3) encoded to latents and decoded again."""
    return np.stack([codec.decode(z) for z in codec.encode(list(frames))])
