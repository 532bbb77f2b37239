"""The oracle behind the shipped autoencoder and the codec: what a perfect model would score."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL

from models.cinema import MICRO_WEIGHTS
from models.evaluation.oracle import Verdict, judge
from models.evaluation.reconstruction import reconstruct
from models.spec import MICRO, FrameRule
from models.training.captions import draw_scenes
from models.vae import PictureCodec


@pytest.fixture(scope="module")
def codec() -> PictureCodec:
    vae = AutoencoderKL.from_pretrained(MICRO_WEIGHTS / "vae", torch_dtype=torch.float32)
    return PictureCodec(vae.eval())


def test_the_oracle_reads_what_the_autoencoder_and_the_codec_leave(codec: PictureCodec) -> None:
    scenes = draw_scenes(50, seed=505, split="held_out")
    half_as_many = replace(MICRO, frames=FrameRule(minimum=8, maximum=8, default=8))  # half the seconds
    found = reconstruct(codec, scenes, half_as_many)
    assert found.oracle["joint"].share >= 0.98
    # Floors, well under what training reports: they catch a broken export or scaling factor.
    assert found.psnr_db >= 32.0
    assert found.object_psnr_db >= 24.0
    assert found.frames == 400


def test_random_latents_show_nothing(codec: PictureCodec) -> None:
    latents = torch.randn(4, 16, 16, 8, 8, generator=torch.Generator().manual_seed(3))
    for clip in latents:
        assert judge(np.stack([codec.decode(latent) for latent in clip])) == Verdict()
