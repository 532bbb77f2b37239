"""What a worker measures of its own device."""

import mmap

import torch

from worker.device.accelerator import TorchAccelerator
from worker.device.host import reset_resident_peak, resident_peak


def touched(mebibytes: int) -> mmap.mmap:
    """Memory from the kernel: an allocator may serve a new array from pages that were resident before."""
    pages = mmap.mmap(-1, mebibytes * 2**20)
    pages.write(b"\1" * len(pages))
    return pages


def test_the_peak_of_a_cpu_is_that_of_this_run() -> None:
    """Measured between the two calls: what was given back before does not count any more."""
    accelerator = TorchAccelerator(torch.device("cpu"))
    assert accelerator.kind == "cpu"
    assert accelerator.peak_memory() is None, "nothing was begun"
    held = touched(96)
    accelerator.forget_peak()
    high = accelerator.peak_memory()
    held.close()
    accelerator.forget_peak()
    low = accelerator.peak_memory()
    again = touched(48)
    middle = accelerator.peak_memory()
    assert high is not None
    assert low is not None
    assert middle is not None
    assert high - low > 64 * 2**20
    assert middle - low > 32 * 2**20
    again.close()


def test_where_nobody_counts_there_is_no_peak(tmp_path) -> None:
    assert resident_peak(tmp_path) is None
    assert reset_resident_peak(tmp_path) is False
