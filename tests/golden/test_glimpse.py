"""A glimpse of a clip that is being denoised: frames of its own autoencoder; no bit of the clip differs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from models.cinema import Cinema
from models.nano import write_nano
from models.orders import VideoOrder
from models.stepwise import result_of
from models.thrift import Thrift
from models.vae import PictureCodec

ORDERS = [VideoOrder("a red circle", "", seed, 3, 2.0, 0.02, 8, 32, 32) for seed in (3, 4)]
KEYFRAMES = list(np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("nano")
    write_nano(path)
    return path


@pytest.fixture
def cinema(folder: Path) -> Cinema:
    return Cinema.load(folder, device="cpu")


def test_the_last_glimpse_is_frames_of_the_video_and_looking_changes_nothing(cinema: Cinema) -> None:
    unseen = result_of(cinema.animate(ORDERS, KEYFRAMES))
    work, glimpses = cinema.animate(ORDERS, KEYFRAMES), []
    while True:
        try:
            progress = next(work)
        except StopIteration as end:
            seen = end.value
            break
        assert progress.look is not None
        glimpses.append([progress.look(row) for row in (0, 1)])
    assert torch.equal(seen, unseen)
    assert len(glimpses) == 3
    for row in (0, 1):
        frames = list(cinema.decode(seen[row]))
        # dpm++2m ends on its last estimate of the clean latents: the first, the last and two between
        assert np.array_equal(glimpses[-1][row], np.stack([frames[at] for at in (0, 2, 4, 7)]))
        assert not np.array_equal(glimpses[0][row], glimpses[-1][row])


def test_with_its_autoencoder_on_the_host_a_clip_cannot_be_seen(cinema: Cinema) -> None:
    cinema.economise(Thrift(park_idle=True))
    assert next(cinema.animate(ORDERS, KEYFRAMES)).look is None


@pytest.mark.parametrize(
    ("frames", "height", "width", "shown", "cells"),
    [(1, 4, 4, 1, (4, 4)), (3, 4, 6, 3, (4, 6)), (16, 33, 64, 4, (17, 32)), (5, 100, 60, 4, (25, 15))],
)
def test_a_glimpse_is_small_whatever_the_video(
    folder: Path, frames: int, height: int, width: int, shown: int, cells: tuple[int, int]
) -> None:
    codec = PictureCodec.load(folder / "vae")
    channels = codec._model.config.latent_channels
    glimpse = codec.glimpse(torch.randn(frames, channels, height, width))
    assert glimpse.dtype == np.uint8
    assert glimpse.shape == (shown, *(4 * side for side in cells), 3)  # nano: four pixels a cell
