"""The figures in docs/training.md are what the code counts, and counting is like running."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch

from benchmarks.count_network import flops
from benchmarks.count_training import fused, memory_tables, passes
from models.spec import NANO, SD21
from models.tensor_peak import tensor_peak
from models.training.scale.clip_times import ClipRule

DOCUMENT = (Path(__file__).parents[2] / "docs" / "training.md").read_text()


def test_documented_memory_is_todays() -> None:
    assert not [line for line in memory_tables() if line not in DOCUMENT]


@cache
def counted(freeze_spatial: bool, recompute: bool) -> tuple[int, Callable[[], object]]:
    """The nano network's pass there and back on the meta device: its FLOP, and one such run."""
    with torch.device("meta"):
        return passes(NANO.unet, 8, 4, freeze_spatial=freeze_spatial, recompute=recompute)


def test_there_and_back_is_three_times_there_when_everything_moves() -> None:
    """A layer's backward pass is one product for its input and one for its weights."""
    forward = flops(NANO, 4, 8)
    there = forward.main + forward.fusion + forward.appearnet
    both, frozen, again = (counted(*how)[0] for how in ((False, False), (True, False), (True, True)))
    assert both / there == pytest.approx(3, rel=0.02)
    assert 2 * there < frozen < both
    assert again - frozen == pytest.approx(there, rel=0.15)


@pytest.mark.parametrize("recompute", [False, True])
def test_counted_activations_are_those_of_a_real_run(recompute: bool) -> None:
    _, on_meta = counted(True, recompute)
    with torch.device("meta"), fused():
        expected = tensor_peak(on_meta)
    _, run = passes(NANO.unet, 8, 4, freeze_spatial=True, recompute=recompute)
    assert expected == pytest.approx(tensor_peak(run), rel=0.05)


def test_documented_gpu_hours_are_arithmetic_on_the_table() -> None:
    """steps x clips x TFLOP a clip / TFLOP a second, to the nearest ten hours."""
    for side, row in ((40, "| 320x320, 100,000 steps of 32 |"), (32, "| 256x256, 20,000 steps of 32 |")):
        clips = (100_000 if side == 40 else 20_000) * 32
        line = next(line for line in DOCUMENT.splitlines() if line.startswith(row))
        told = [float(cell.strip().replace(",", "")) for cell in line.strip("|").split("|")[1:]]
        tflop = told[0]
        counted = f"| {8 * side} | 16 | yes |"
        assert any(each.startswith(counted) and f"| {tflop:g} |" in each for each in DOCUMENT.splitlines())
        for rate, hours in zip((100, 200), told[1:], strict=True):
            assert hours == pytest.approx(clips * tflop / rate / 3600, abs=5)


def test_the_documented_clip_is_the_models_own() -> None:
    rule = ClipRule(SD21.frames.default, SD21.fps)
    assert f"{rule.frames} frames at {rule.fps:g} a second ({rule.span:.2f} s)" in DOCUMENT
