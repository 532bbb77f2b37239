"""The Frechet distance against values known by hand, and what the ruler sees of known faults."""

import numpy as np
import pytest

from models.evaluation.ablations.features import RandomConvolutions, Ruler
from models.evaluation.ablations.frechet import Measured, frechet, measure
from models.evaluation.silhouette import Pixels
from models.training.captions import draw_scenes
from models.training.world import render


def test_distance_of_normal_sets_is_the_formula() -> None:
    rng = np.random.default_rng(0)
    a = rng.standard_normal((4000, 3))
    a = (a - a.mean(axis=0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(a, rowvar=False))).T  # exactly N(0, 1)
    assert frechet(a, a) == pytest.approx(0, abs=1e-9)
    assert frechet(a, a + np.array([3.0, 0.0, 4.0])) == pytest.approx(25.0)
    assert frechet(a, a * np.array([2.0, 1.0, 1.0])) == pytest.approx(1.0)  # (2 - 1)^2
    turned = a @ np.linalg.qr(rng.standard_normal((3, 3)))[0]
    assert frechet(a, turned) == pytest.approx(0, abs=1e-9)
    assert frechet(a, turned * 3 + 1) == pytest.approx(3 * 2**2 + 3)


def test_as_many_films_as_dimensions_are_too_few() -> None:
    few, many = np.zeros((4, 4)), np.zeros((9, 4))
    with pytest.raises(ValueError, match="b has 4 vectors of 4 dimensions"):
        frechet(many, few)
    with pytest.raises(ValueError, match="a has 4 vectors"):
        frechet(few, many)


def test_the_interval_narrows_with_more_prompts() -> None:
    rng = np.random.default_rng(1)
    rendered, made = rng.standard_normal((2000, 2)), rng.standard_normal((800, 2)) + 1
    wide = measure(rendered, made[:40], 40, 100, 0).distance
    narrow = measure(rendered, made, 800, 100, 0).distance
    assert 0 < narrow.reach < wide.reach / 2
    assert narrow.value == pytest.approx(2.0, abs=0.5)
    assert measure(rendered, made, 800, 100, 0).distance == narrow


def test_films_of_one_prompt_are_drawn_together() -> None:
    rng = np.random.default_rng(2)
    rendered, one_seed = rng.standard_normal((500, 2)), rng.standard_normal((30, 2))
    four_seeds = np.concatenate([one_seed] * 4)  # seeds that change nothing must not narrow the interval
    four, one = (measure(rendered, made, 30, 200, 0).distance for made in (four_seeds, one_seed))
    assert four.reach == pytest.approx(one.reach, rel=0.15)
    with pytest.raises(ValueError, match="prompts is 7; it must divide the 30 films"):
        measure(rendered, one_seed, 7, 10, 0)


def test_a_difference_over_the_same_prompts_is_surer_than_either_distance() -> None:
    rng = np.random.default_rng(3)
    rendered, worse = rng.standard_normal((500, 2)), rng.standard_normal((60, 2)) + 1
    better = 0.9 * worse
    one, other = (measure(rendered, made, 60, 200, 0) for made in (worse, better))
    apart = one.minus(other)
    assert apart.value == pytest.approx(one.value - other.value)
    assert 0 < apart.reach < 0.5 * min(one.distance.reach, other.distance.reach)
    assert apart.value - apart.reach > 0
    assert one.minus(one).reach == 0
    with pytest.raises(ValueError, match="draws are 200 and 1"):
        one.minus(Measured(1.0, (1.0,)))


@pytest.fixture(scope="module")
def clips() -> list[Pixels]:
    return [render(scene, 8, 32) for scene in draw_scenes(80, 5, "held_out")]


def test_the_ruler_is_fixed_by_its_seed(clips: list[Pixels]) -> None:
    one, same, other = (RandomConvolutions(seed, width=8)(clips[:3]) for seed in (1, 1, 2))
    assert one.shape == (3, 48)
    assert np.array_equal(one, same)
    assert not np.allclose(one, other)


def test_rendered_clips_are_the_unit_of_the_ruler(clips: list[Pixels]) -> None:
    measured = Ruler.of(RandomConvolutions(1, width=8), clips, dims=5)(clips)
    np.testing.assert_allclose(measured.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(np.cov(measured, rowvar=False), np.eye(5), atol=1e-6)
    with pytest.raises(ValueError, match="dims is 80 and there are 80 rendered clips"):
        Ruler.of(RandomConvolutions(1, width=8), clips, dims=80)


def test_the_ruler_tells_faults_apart() -> None:
    """On the very clips that it was fitted to, so that chance has no share in any distance."""
    clips = [render(scene, 16, 32) for scene in draw_scenes(80, 5, "held_out")]
    ruler = Ruler.of(RandomConvolutions(7), clips, dims=16)
    rng = np.random.default_rng(0)
    still = [np.repeat(clip[8:9], 16, axis=0) for clip in clips]
    shuffled = [clip[rng.permutation(16)] for clip in clips]
    exchanged = [np.concatenate([a[:8], b[8:]]) for a, b in zip(clips, clips[1:] + clips[:1], strict=True)]
    by_fault = [frechet(ruler(clips), ruler(made)) for made in (clips, still, shuffled, exchanged)]
    assert by_fault == sorted(by_fault)
    assert by_fault[0] == pytest.approx(0, abs=1e-6)
    assert by_fault[1] > 0.2
    assert by_fault[2] > 2 * by_fault[1]
    assert by_fault[3] > 2 * by_fault[2]
