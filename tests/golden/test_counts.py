"""The figures in docs/benchmarks.md are what the code counts today."""

from __future__ import annotations

from pathlib import Path

from benchmarks.count_network import tables

DOCUMENT = Path(__file__).parents[2] / "docs" / "benchmarks.md"


def test_documented_counts_are_todays() -> None:
    text = DOCUMENT.read_text()
    missing = [line for line in tables() if line not in text]
    assert not missing
