"""Cuts are found in synthetic videos, and what only looks like one is not."""

from __future__ import annotations

import numpy as np
import pytest
from rig.footage import mp4, pan, texture

from models.training.scale.cuts import SIDE, changes, find_cuts, moved
from models.training.scale.footage import examine
from models.training.world import Scene, render


def small(frames: np.ndarray) -> np.ndarray:
    """As the packer sees them, after the codec."""
    return examine(mp4(frames), SIDE).small


@pytest.mark.parametrize("seed", range(12))
def test_a_cut_between_two_moving_shots_is_found_at_its_frame(seed: int) -> None:
    first, second = 3 + seed % 9, 12
    shots = np.concatenate([pan(2 * seed, first, speed=2), pan(2 * seed + 1, second, speed=3)])
    assert find_cuts(small(shots)) == [first]


def test_every_cut_of_several_is_found() -> None:
    shots = np.concatenate([pan(seed, 10) for seed in range(4)])
    assert find_cuts(small(shots)) == [10, 20, 30]


@pytest.mark.parametrize("speed", [0, 1, 4, 12])
@pytest.mark.parametrize("seed", range(3))
def test_a_camera_that_moves_however_fast_is_no_cut(seed: int, speed: int) -> None:
    assert find_cuts(small(pan(seed, 24, speed=speed))) == []


def test_a_shake_in_a_quiet_shot_is_no_cut() -> None:
    shot = pan(5, 24, speed=0)
    shot[11:] = np.roll(shot[11:], 9, axis=2)
    assert find_cuts(small(shot)) == []


def test_fades_are_no_cut_whether_slow_or_fast() -> None:
    shot = pan(6, 24).astype(np.float64)
    for length in (6, 24):
        fading = shot.copy()
        fading[-length:] *= np.linspace(1, 0.2, length)[:, None, None, None]
        assert find_cuts(small(fading.astype(np.uint8))) == []


def test_noise_and_a_small_object_that_appears_are_no_cut() -> None:
    rng = np.random.default_rng(7)
    shot = pan(8, 24, speed=0)
    noisy = np.clip(shot + rng.normal(0, 12, shot.shape), 0, 255).astype(np.uint8)
    noisy[13:, 10:22, 10:22] = 255
    assert find_cuts(small(noisy)) == []


def test_the_moving_shapes_of_the_micro_world_have_no_cuts() -> None:
    from models.training.captions import draw_scenes

    scenes: list[Scene] = draw_scenes(40, 3, "train")
    assert [find_cuts(small(render(scene))) for scene in scenes] == [[]] * 40


def test_colours_never_move_further_than_the_pixels_change() -> None:
    """The histograms' distance is that of the best pairing of pixels; place by place is one pairing."""
    pair = np.stack([texture(1, SIDE, SIDE), texture(2, SIDE, SIDE)])
    assert 0 < moved(pair)[0] <= changes(pair)[0]
    shuffled = pair[:1].reshape(1, -1, 3)[:, np.random.default_rng(0).permutation(SIDE * SIDE)]
    same = np.concatenate([pair[:1], shuffled.reshape(pair[:1].shape)])
    assert moved(same)[0] == 0 < changes(same)[0]


def test_one_frame_and_two_frames_can_be_asked_about() -> None:
    assert find_cuts(pan(1, 1, side=SIDE)) == []
    assert find_cuts(np.concatenate([pan(1, 1, side=SIDE), pan(2, 1, side=SIDE)])) == [1]
