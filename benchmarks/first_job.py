"""Whether a worker is as fast in its first job as in those after it.

    python -m benchmarks.first_job [--workers 3] [--videos 5] [--enforce]

Fresh services, one after the other, each with the shipped model: as soon as the worker says that it is ready
it makes a video, then some more. By the CPU time of the worker's process, which a busy machine does not
stretch, and by its own clock from claim to stored file.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.fleet import cpu_s
from benchmarks.served import PROMPT, VIDEO_WITHIN_S, running_service

BAR = 1.2


@dataclass(frozen=True)
class Fresh:
    """Seconds of each video of one worker, in order, the first one too: of CPU, and on the clock."""

    cpu_s: tuple[float, ...]
    clock_s: tuple[float, ...]


def first_over_steady(seconds: Sequence[float]) -> float:
    """How many times the median of all others the first one took."""
    return seconds[0] / statistics.median(seconds[1:])


def fresh_worker(videos: int) -> Fresh:
    """Start everything, make so many videos, end everything."""
    cpu, clock = [], []
    with running_service() as service:
        pid = service.pids()["worker"]
        for number in range(videos):
            before = cpu_s(pid)
            made = service.client.create(PROMPT, seed=number)
            video = service.client.wait(made.id, timeout_s=VIDEO_WITHIN_S)
            cpu.append(cpu_s(pid) - before)
            clock.append(float(video.raise_for_failure().model_dump()["usage"]["seconds"]))
    return Fresh(tuple(cpu), tuple(clock))


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the table; with --enforce 1 if the bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--workers", type=int, default=3, help="fresh ones, in turn")
    parser.add_argument("--videos", type=int, default=5, help="of each, the first one too; at least 2")
    parser.add_argument("--enforce", action="store_true", help="exit code 1 if the bar is missed")
    chosen = parser.parse_args(argv)
    print(f"load average before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print("| worker | first, CPU s | steady, CPU s | ratio | first, clock s | steady, clock s | ratio |")
    print("|---|---|---|---|---|---|---|")
    ratios = []
    for number in range(1, chosen.workers + 1):
        fresh = fresh_worker(chosen.videos)
        cells = [
            cell
            for taken in (fresh.cpu_s, fresh.clock_s)
            for cell in (taken[0], statistics.median(taken[1:]), first_over_steady(taken))
        ]
        print(f"| {number} | " + " | ".join(f"{cell:.2f}" for cell in cells) + " |", flush=True)
        ratios.append(first_over_steady(fresh.cpu_s))
    typical = statistics.median(ratios)
    kept = typical <= BAR
    print(f"first over steady, CPU: {typical:.2f}, bar {BAR:g}: {'kept' if kept else 'MISSED'}")
    return int(chosen.enforce and not kept)


if __name__ == "__main__":
    sys.exit(main())
