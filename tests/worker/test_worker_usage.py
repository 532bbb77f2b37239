"""What a worker measures of its own device."""

import numpy as np
import torch

from worker.accelerator import TorchAccelerator
from worker.host_memory import reset_resident_peak, resident_peak


def test_the_peak_of_a_cpu_is_that_of_this_run() -> None:
    """Measured between the two calls: what was given back before does not count any more."""
    accelerator = TorchAccelerator(torch.device("cpu"))
    assert accelerator.kind == "cpu"
    assert accelerator.peak_memory() is None, "nothing was begun"
    held = np.ones(96 * 2**20, np.uint8)
    accelerator.forget_peak()
    high = accelerator.peak_memory()
    del held
    accelerator.forget_peak()
    low = accelerator.peak_memory()
    again = np.ones(48 * 2**20, np.uint8)
    middle = accelerator.peak_memory()
    assert high is not None
    assert low is not None
    assert middle is not None
    assert high - low > 64 * 2**20
    assert middle - low > 32 * 2**20
    assert again.size


def test_where_nobody_counts_there_is_no_peak(tmp_path) -> None:
    assert resident_peak(tmp_path) is None
    assert reset_resident_peak(tmp_path) is False
