"""The procedural world and its captions: what every trained weight rests on."""

import itertools

import numpy as np
import pytest

from models.training.captions import (
    BACKGROUND_WORDS,
    HELD_OUT_TEMPLATES,
    MOTION_PHRASES,
    TRAIN_TEMPLATES,
    caption,
    combination_split,
    combinations,
    draw_scenes,
    held_out_prompts,
    split_of,
)
from models.training.world import (
    BACKGROUNDS,
    COLORS,
    MOTIONS,
    ROTATING_SHAPES,
    SHAPES,
    Combination,
    Scene,
    all_combinations,
    place,
    render,
)


def centroid(frame: np.ndarray, background: str) -> tuple[float, float, int]:
    """Centre (x, y) and count of the pixels that differ from the background."""
    rows, columns = np.nonzero((frame != np.asarray(BACKGROUNDS[background])).any(axis=-1))
    return float(columns.mean()), float(rows.mean()), len(rows)


def scene_with(motion: str, shape: str = "square", seed: int = 0) -> Scene:
    return place(Combination("red", shape, "grey", motion), np.random.default_rng(seed))


def test_world_is_as_rich_as_promised() -> None:
    assert len(COLORS) >= 6
    assert len(SHAPES) >= 5
    assert len(BACKGROUNDS) >= 4
    assert set(MOTIONS) == {"left", "right", "up", "down", "growing", "shrinking", "rotating", "still"}


def test_colours_and_backgrounds_are_far_apart() -> None:
    palette = [*COLORS.values(), *BACKGROUNDS.values()]
    for one, other in itertools.combinations(palette, 2):
        assert np.linalg.norm(np.subtract(one, other)) > 75


def test_shape_stays_inside_the_frame_at_every_moment() -> None:
    for scene in draw_scenes(600, seed=1, split="train") + draw_scenes(200, seed=2, split="held_out"):
        clip = render(scene)
        border = np.concatenate([clip[:, 0], clip[:, -1], clip[:, :, 0], clip[:, :, -1]], axis=1)
        assert (border == np.asarray(BACKGROUNDS[scene.background])).all(), scene


def test_a_scene_always_renders_to_the_same_bytes() -> None:
    assert draw_scenes(5, seed=3, split="train") == draw_scenes(5, seed=3, split="train")
    assert draw_scenes(5, seed=3, split="train") != draw_scenes(5, seed=4, split="train")
    scene = scene_with("growing")
    assert render(scene).tobytes() == render(scene).tobytes()
    assert render(scene).shape == (16, 64, 64, 3)
    assert render(scene).dtype == np.uint8


def test_other_sizes_show_the_same_scene() -> None:
    scene = scene_with("right")
    small, large = render(scene, frames=4, size=64), render(scene, frames=4, size=128)
    x, y, _ = centroid(small[1], "grey")
    wide_x, wide_y, _ = centroid(large[1], "grey")
    assert (wide_x / 2, wide_y / 2) == pytest.approx((x, y), abs=0.6)


@pytest.mark.parametrize(
    ("motion", "axis", "sign"), [("left", 0, -1), ("right", 0, 1), ("up", 1, -1), ("down", 1, 1)]
)
def test_translations_go_where_their_name_says(motion: str, axis: int, sign: int) -> None:
    for seed in range(10):
        clip = render(scene_with(motion, seed=seed))
        first, last = centroid(clip[0], "grey"), centroid(clip[-1], "grey")
        assert sign * (last[axis] - first[axis]) > 16
        assert abs(last[1 - axis] - first[1 - axis]) < 1


def test_growing_shrinking_rotating_and_still() -> None:
    for seed in range(10):
        growing, shrinking = (
            render(scene_with("growing", seed=seed)),
            render(scene_with("shrinking", seed=seed)),
        )
        assert centroid(growing[-1], "grey")[2] > 2 * centroid(growing[0], "grey")[2]
        assert centroid(shrinking[0], "grey")[2] > 2 * centroid(shrinking[-1], "grey")[2]
        turning, still = render(scene_with("rotating", seed=seed)), render(scene_with("still", seed=seed))
        assert scene_with("rotating", seed=seed).speed >= 50
        assert (turning[0] != turning[8]).any()
        assert (still == still[0]).all()


def test_only_shapes_that_visibly_rotate_rotate() -> None:
    rotating = {c.shape for c in all_combinations() if c.motion == "rotating"}
    assert rotating == set(ROTATING_SHAPES)
    with pytest.raises(ValueError, match="shape is 'circle'"):
        Combination("red", "circle", "grey", "rotating")


def test_a_background_is_never_an_object_colour() -> None:
    assert not set(COLORS) & set(BACKGROUNDS)
    with pytest.raises(ValueError, match="background is 'red'"):
        Combination("red", "circle", "red", "still")


def test_a_fifth_of_all_combinations_never_reaches_training() -> None:
    held_out, train = combinations("held_out"), combinations("train")
    assert len(held_out) + len(train) == len(all_combinations())
    assert 0.20 <= len(held_out) / len(all_combinations()) <= 0.27
    assert all(split_of(scene) == "train" for scene in draw_scenes(500, seed=5, split="train"))
    # every single attribute is still learnt from the rest
    for field in ("color", "shape", "background", "motion"):
        assert {getattr(c, field) for c in train} == {getattr(c, field) for c in all_combinations()}


def test_the_split_is_the_one_the_shipped_weights_were_trained_with() -> None:
    known = [("yellow", "ring", "black", "growing"), ("blue", "square", "beige", "left")]
    assert [combination_split(*names) for names in known] == ["held_out", "held_out"]
    assert combination_split("red", "star", "beige", "rotating") == "train"


def test_captions_name_all_four_attributes() -> None:
    rng = np.random.default_rng(0)
    assert len(TRAIN_TEMPLATES) >= 8
    assert not set(TRAIN_TEMPLATES) & set(HELD_OUT_TEMPLATES)
    for combination in all_combinations():
        text = caption(combination, rng, TRAIN_TEMPLATES + HELD_OUT_TEMPLATES)
        assert combination.color in text
        assert combination.shape in text
        assert any(w in text for w in BACKGROUND_WORDS.get(combination.background, (combination.background,)))
        assert any(phrase in text for phrase in MOTION_PHRASES[combination.motion])


def test_held_out_prompts_describe_their_scenes() -> None:
    prompts = held_out_prompts(50, seed=9)
    assert prompts == held_out_prompts(50, seed=9)
    assert len(prompts) == 50
    for text, scene in prompts:
        assert split_of(scene) == "held_out"
        assert scene.shape in text
