"""Memory that was really taken."""

from __future__ import annotations

from collections.abc import Callable

from torch.profiler import ProfilerActivity, profile


def allocated_peak(run: Callable[[], object]) -> int:
    """What torch's allocator handed out at most, by its own log of every allocation and release."""
    run()  # lazy set-up is not what is asked for
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as watch:
        run()
    assert watch.profiler is not None
    changes = [e for e in watch.profiler.kineto_results.events() if e.name() == "[memory]"]
    live = peak = 0
    for change in sorted(changes, key=lambda change: change.start_ns()):
        live += change.nbytes()
        peak = max(peak, live)
    return peak
