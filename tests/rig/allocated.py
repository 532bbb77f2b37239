"""Memory that was really taken."""

from __future__ import annotations

from collections.abc import Callable

from torch.profiler import ProfilerActivity, profile


def allocated_peak(run: Callable[[], object]) -> int:
    """What torch's allocator handed out at most, by its own log of every allocation and release."""
    run()  # lazy set-up is not what is asked for
    return allocated_and_left(run)[0]


def allocated_and_left(run: Callable[[], object]) -> tuple[int, int]:
    """What `run` took at most, and how much of it is still taken afterwards, by torch's own log."""
    live = peak = 0
    for change in _changes(run):
        live += change
        peak = max(peak, live)
    return peak, live


def _changes(run: Callable[[], object]) -> list[int]:
    """Bytes of each allocation (above 0) and release, in the order of time."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as watch:
        run()
    assert watch.profiler is not None
    changes = [e for e in watch.profiler.kineto_results.events() if e.name() == "[memory]"]
    return [change.nbytes() for change in sorted(changes, key=lambda change: change.start_ns())]
