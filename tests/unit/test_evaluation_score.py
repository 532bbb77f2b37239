"""Counting: intervals against published ones, tables against hand counts."""

import pytest

from models.evaluation.oracle import Verdict
from models.evaluation.score import Spread, Tally, mistaken, tallies


@pytest.mark.parametrize(
    ("right", "total", "low", "high"),
    # Newcombe, "Two-sided confidence intervals for the single proportion", 1998, table I, method 3.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_interval_is_the_published_one(right: int, total: int, low: float, high: float) -> None:
    assert Tally(right, total).interval == pytest.approx((low, high), abs=5e-5)


def test_wilson_interval_mirrors() -> None:
    low, high = Tally(195, 200).interval
    assert Tally(5, 200).interval == pytest.approx((1 - high, 1 - low))
    assert Tally(20, 20).interval[1] == 1.0


@pytest.mark.parametrize(
    ("right", "total", "named"), [(1, 0, "total is 0"), (3, 2, "right is 3"), (-1, 2, "right is -1")]
)
def test_an_impossible_count_is_refused(right: int, total: int, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Tally(right, total)


ASKED = Verdict("red", "star", "white", "left")
PAIRS = [
    (ASKED, ASKED),
    (ASKED, Verdict("red", "circle", "white", "left")),
    (ASKED, Verdict("red", "circle", "black", "left")),
    (ASKED, Verdict()),
]


def test_tallies_count_each_attribute_and_all_together() -> None:
    counted = tallies(PAIRS)
    assert {name: tally.right for name, tally in counted.items()} == {
        "color": 3,
        "background": 2,
        "shape": 1,
        "motion": 3,
        "joint": 1,
    }
    assert {tally.total for tally in counted.values()} == {4}
    assert tallies(PAIRS, ("color", "background"))["joint"].right == 2


def test_mistakes_are_named_most_frequent_first() -> None:
    misses = mistaken(PAIRS)
    assert list(misses["shape"].items()) == [("star -> circle", 2), ("star -> none", 1)]
    assert misses["motion"] == {"left -> none": 1}


def test_spread_leaves_out_what_was_not_measured() -> None:
    spread = Spread.of([10.0, None, 20.0, 30.0])
    assert spread is not None
    assert (spread.mean, spread.median, spread.measured) == (20.0, 20.0, 3)
    assert spread.p5 == pytest.approx(11.0)
    assert spread.p95 == pytest.approx(29.0)
    assert Spread.of([None, None]) is None
