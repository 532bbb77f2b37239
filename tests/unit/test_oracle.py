"""The oracle against the renderer that it must agree with, and against everything it must refuse."""

from dataclasses import replace

import numpy as np
import pytest

from models.evaluation.oracle import NONE, Verdict, judge
from models.evaluation.silhouette import Pixels
from models.training.captions import draw_scenes
from models.training.h264 import round_trip
from models.training.world import (
    BACKGROUNDS,
    COLORS,
    DIRECTIONS,
    MOTIONS,
    SHAPES,
    Scene,
    coverage,
    moments_of,
    render,
    render_moments,
)

SCENES = draw_scenes(500, seed=404, split="held_out")
ATTRIBUTES = ("color", "shape", "background", "motion")


def truth(scene: Scene) -> Verdict:
    return Verdict(scene.color, scene.shape, scene.background, scene.motion)


def share_right(scenes: list[Scene], clips: list[Pixels]) -> float:
    right = [judge(clip) == truth(scene) for scene, clip in zip(scenes, clips, strict=True)]
    return sum(right) / len(right)


def soften(frames: Pixels, sigma: float, noise: float, rng: np.random.Generator) -> Pixels:
    """What a lossy decoder does to edges and flat colour: Gaussian blur, then noise."""
    reach = np.arange(-3, 4)
    kernel = np.exp(-0.5 * (reach / sigma) ** 2)
    kernel /= kernel.sum()
    soft = frames.astype(np.float64)
    for axis in (1, 2):
        wide = np.concatenate(
            [soft.take([0, 0, 0], axis), soft, soft.take([-1, -1, -1], axis)],
            axis,
        )
        length = soft.shape[axis]
        soft = sum(
            weight * wide.take(range(shift, shift + length), axis) for shift, weight in enumerate(kernel)
        )
    return np.clip(np.rint(soft + rng.normal(0, noise, frames.shape)), 0, 255).astype(np.uint8)


def test_500_rendered_videos_of_every_kind() -> None:
    assert {scene.shape for scene in SCENES} == set(SHAPES)
    assert {scene.motion for scene in SCENES} == set(MOTIONS)
    assert {scene.color for scene in SCENES} == set(COLORS)
    assert {scene.background for scene in SCENES} == set(BACKGROUNDS)
    assert share_right(SCENES, [render(scene) for scene in SCENES]) >= 0.99


def test_blurred_noisy_and_compressed_videos() -> None:
    rng = np.random.default_rng(7)
    scenes = SCENES[:60]
    clips = [round_trip(soften(render(scene), sigma=0.9, noise=3.0, rng=rng)) for scene in scenes]
    assert share_right(scenes, clips) >= 0.98


def test_sharp_videos_with_coloured_fringes() -> None:
    """4:2:0 chroma at a sharp edge leaves a fringe beside the object, which is no second object."""
    scenes = SCENES[60:160]
    assert share_right(scenes, [round_trip(render(scene)) for scene in scenes]) >= 0.99


@pytest.mark.parametrize(("frames", "size"), [(4, 64), (8, 64), (16, 96), (4, 192)])
def test_any_length_and_size(frames: int, size: int) -> None:
    scenes = SCENES[:24]
    assert share_right(scenes, [render(scene, frames, size) for scene in scenes]) >= 0.95


def test_one_picture_shows_all_but_motion() -> None:
    for scene in SCENES[:40]:
        assert judge(render(scene)[8:9]) == replace(truth(scene), motion=NONE)


def test_turning_either_way_is_rotating() -> None:
    turning = [scene for scene in SCENES if scene.motion == "rotating"][:20]
    assert all(judge(render(scene)[::-1]).motion == "rotating" for scene in turning)


def test_played_backwards_the_motion_is_the_opposite() -> None:
    opposite = {"left": "right", "right": "left", "up": "down", "down": "up"}
    opposite |= {"growing": "shrinking", "shrinking": "growing"}
    moving = [scene for scene in SCENES if scene.motion in opposite][:40]
    assert all(judge(render(scene)[::-1]).motion == opposite[scene.motion] for scene in moving)


@pytest.mark.parametrize("color", [*BACKGROUNDS.values(), *COLORS.values()])
def test_blank_frames_show_nothing(color: tuple[int, int, int]) -> None:
    blank = np.full((16, 64, 64, 3), color, dtype=np.uint8)
    assert judge(blank) == Verdict()
    noisy = np.clip(blank + np.random.default_rng(1).normal(0, 8, blank.shape), 0, 255).astype(np.uint8)
    assert judge(noisy) == Verdict()


@pytest.mark.parametrize("seed", range(5))
def test_noise_shows_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    assert judge(rng.integers(0, 256, (16, 64, 64, 3), dtype=np.uint8)) == Verdict()
    # Coarse noise has blobs, which is what a decoder makes of random latents.
    coarse = rng.integers(0, 256, (16, 8, 8, 3), dtype=np.uint8).repeat(8, axis=1).repeat(8, axis=2)
    assert judge(coarse) == Verdict()
    assert judge(soften(coarse, sigma=2.0, noise=0.0, rng=rng)) == Verdict()
    assert judge(coarse[:1].repeat(16, axis=0)) == Verdict()


def test_two_objects_show_nothing() -> None:
    moments = moments_of(16)
    pairs = 0
    for one, other in zip(SCENES[:250], SCENES[250:], strict=True):
        first, second = (coverage(scene, moments)[..., None] for scene in (one, other))
        if ((first > 0) & (second > 0)).any():
            continue
        pairs += 1
        back = np.asarray(BACKGROUNDS[one.background], dtype=np.float32)
        frames = back + first * (COLORS[one.color] - back) + second * (COLORS[other.color] - back)
        assert judge(np.rint(frames).astype(np.uint8)) == Verdict()
    assert pairs >= 5


def test_an_object_that_blinks_shows_nothing() -> None:
    for scene in SCENES[:20]:
        frames = render(scene)
        frames[::2] = BACKGROUNDS[scene.background]
        assert judge(frames) == Verdict()


def test_flickering_colours_have_no_name() -> None:
    for scene in SCENES[:20]:
        other_color = next(color for color in COLORS if color != scene.color)
        other_background = next(name for name in BACKGROUNDS if name != scene.background)
        frames = render(scene)
        frames[::2] = render(replace(scene, color=other_color))[::2]
        assert judge(frames).color == NONE
        frames = render(scene)
        frames[::2] = render(replace(scene, background=other_background))[::2]
        assert judge(frames).background == NONE


def test_a_two_coloured_object_has_no_colour() -> None:
    for scene in [scene for scene in SCENES if scene.motion == "still"][:20]:
        other = replace(scene, color=next(color for color in COLORS if color != scene.color))
        middle = round(scene.position[0])
        frames = render(scene)
        frames[:, :, middle:] = render(other)[:, :, middle:]
        assert judge(frames).color == NONE


def test_colours_of_another_world_have_no_name() -> None:
    frames = render(next(scene for scene in SCENES if scene.color == "red" and scene.background == "white"))
    purple_on_olive = np.where(frames[..., 1:2] < 140, (110, 20, 140), (120, 130, 20)).astype(np.uint8)
    verdict = judge(purple_on_olive)
    assert (verdict.color, verdict.background) == (NONE, NONE)
    assert verdict.shape != NONE


def figure(distance: np.ndarray) -> Pixels:
    """A still blue figure on white, from signed distances (64, 64)."""
    inside = np.clip(0.5 - distance, 0, 1)[None, ..., None]
    frame = np.rint(245 + inside * (np.asarray(COLORS["blue"]) - 245)).astype(np.uint8)
    return frame.repeat(16, axis=0)


def test_shapes_of_another_world_have_no_name() -> None:
    down, right = np.mgrid[:64, :64] - 31.5
    length, box = np.hypot(down, right), np.maximum(abs(down), abs(right))
    half_disc = np.maximum(length - 14, right)
    crescent = np.maximum(length - 14, 10 - np.hypot(down, right - 5))
    frame = np.maximum(box - 12, 6 - box)
    bar = np.maximum(abs(right) - 14, abs(down) - 6)
    cross = np.minimum(bar, bar.T)
    ellipse = np.hypot(down, right / 1.5) - 9
    for other in (half_disc, crescent, frame, bar, cross, ellipse):
        verdict = judge(figure(other))
        assert (verdict.shape, verdict.motion) == (NONE, "still")


def test_a_shape_that_becomes_another_has_no_name() -> None:
    for scene in [scene for scene in SCENES if scene.motion != "rotating"][:20]:
        other = replace(scene, shape=next(shape for shape in SHAPES if shape != scene.shape))
        frames = render(scene)
        frames[8:] = render(other)[8:]
        assert judge(frames).shape == NONE


def test_a_jump_is_no_motion() -> None:
    """Half the clip at the start of the way and half at its end: change without movement."""
    jump = np.repeat(np.asarray([0.0, 1.0], dtype=np.float32), 8)
    for scene in [scene for scene in SCENES if scene.motion in DIRECTIONS][:20]:
        assert judge(render_moments(scene, jump)).motion == NONE


def test_a_diagonal_is_neither_way() -> None:
    scene = replace(SCENES[0], motion="right", speed=20.0, position=(32.0, 32.0), size=9.0)
    drop = np.linspace(-8, 8, 16).round().astype(int)
    frames = np.stack([np.roll(frame, step, axis=0) for frame, step in zip(render(scene), drop, strict=True)])
    assert judge(render(scene)).motion == "right"
    assert judge(frames).motion == NONE


@pytest.mark.parametrize(
    "frames",
    [
        np.zeros((16, 64, 64, 3), dtype=np.float32),
        np.zeros((64, 64, 3), dtype=np.uint8),
        np.zeros((16, 64, 64, 4), dtype=np.uint8),
        np.zeros((0, 64, 64, 3), dtype=np.uint8),
        np.zeros((4, 8, 8, 3), dtype=np.uint8),
    ],
)
def test_malformed_frames_are_named(frames: Pixels) -> None:
    with pytest.raises(ValueError, match=r"frames (is|has)"):
        judge(frames)
