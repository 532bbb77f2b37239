"""Loading holds the weights and little more: the benchmark's measurement, on a small model."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks.load_memory import LIMIT, measure, write_model


@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="reads /proc/self: peak memory was not measured"
)
@pytest.mark.parametrize("stored", ["fp16", "fp32"])
def test_peak_host_memory_is_little_more_than_the_weights(tmp_path: Path, stored: str) -> None:
    write_model(tmp_path / "model", 60, stored)
    seen = measure(tmp_path / "model")
    assert 40e6 < seen.weights < 100e6
    assert 0.8 <= seen.ratio <= LIMIT  # below 0.8 it would not have been the load that was measured
