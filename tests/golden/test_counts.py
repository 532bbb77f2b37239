"""The counted figures in benchmarks.md, sizing.md, models.md and training.md are what the code counts today.

The rows of a table are one function at several sizes: here each table is counted at some of them.
MICROCINEMA_ALL_COUNTS=1 (`make counts`) counts every row.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import pytest

from benchmarks import (
    count_fleet,
    count_memory,
    count_network,
    count_picture_memory,
    count_public_memory,
    count_training,
)
from models.spec import SD21

DOCS = Path(__file__).parents[2] / "docs"
ALL = os.environ.get("MICROCINEMA_ALL_COUNTS") == "1"
# A UNet and a transformer; how each family's inputs are made is held to its call in test_memory_public.py.
PUBLIC = tuple(count_public_memory.RELEASED) if ALL else ("Stable Video Diffusion", "LTX-Video 2b")


def missing(lines: Iterable[str], document: str) -> list[str]:
    text = (DOCS / document).read_text()
    return [line for line in lines if line not in text]


@pytest.mark.timeout(300)
def test_documented_counts_are_todays() -> None:
    rows = count_network.COUNTED if ALL else count_network.COUNTED[:2]
    assert missing(count_network.tables(rows), "benchmarks.md") == []


@pytest.mark.timeout(300)
def test_documented_memory_is_todays() -> None:
    rows = count_memory.COUNTED if ALL else count_memory.COUNTED[-1:]
    assert missing(count_memory.tables(rows), "benchmarks.md") == []


@pytest.mark.timeout(300)
def test_documented_sizes_of_a_fleet_are_todays() -> None:
    rows = SD21.sizes if ALL else SD21.sizes[:1]
    assert missing(count_fleet.table(rows), "sizing.md") == []


@pytest.mark.timeout(300)
@pytest.mark.parametrize("model", PUBLIC)
def test_documented_memory_of_public_models_is_todays(model: str) -> None:
    assert missing(count_public_memory.table([model]), "benchmarks.md") == []


@pytest.mark.timeout(300)
def test_documented_weights_of_picture_models_are_todays() -> None:
    rows = tuple(count_picture_memory.RELEASED) if ALL else ("Stable Diffusion 2.1", "PixArt-alpha")
    assert missing(count_picture_memory.table(rows), "models.md") == []


def test_the_list_of_models_has_the_memory_of_the_count() -> None:
    counted = [line.split(" | ") for line in (DOCS / "benchmarks.md").read_text().splitlines()]
    plans = {cells[0].removeprefix("| "): cells[6] for cells in counted if len(cells) == 9}
    rows = (DOCS / "models.md").read_text().splitlines()
    for name, released in count_public_memory.RELEASED.items():
        (row,) = [
            line for line in rows if line.startswith(f"| `{released.pipeline}` |") and "steps" not in line
        ]
        assert f"| {plans[name]} GiB" in row, name


@pytest.mark.timeout(400)
@pytest.mark.parametrize(("side", "recompute"), count_training.COUNTED if ALL else count_training.COUNTED[:1])
def test_a_documented_training_step_is_todays(side: int, recompute: bool) -> None:
    assert missing([count_training.step_row(side, recompute)], "training.md") == []
