"""How long a video takes and how much memory: python -m benchmarks.render

First through the whole service, against its bars. Then what matters for it, interleaved: in every round each
variant has one turn, in a process that stays warm, so that a slow minute of the machine hits all of them.
Prints the tables of docs/benchmarks.md; begins nothing new after --limit-s; with --enforce it ends with 1
when a bar is missed.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from benchmarks.film_process import WaitPolicy, busy_neighbours, film_processes
from benchmarks.served import Served, served_videos

MOST_SECONDS = 10.0
MOST_RSS = 2.5e9


@dataclass(frozen=True)
class Variant:
    """How a film is made: OpenMP's wait policy, films per batch, busy neighbours."""

    wait_policy: WaitPolicy
    batch: int
    neighbours: int


ALONE = Variant("passive", batch=1, neighbours=0)
TOGETHER = Variant("passive", batch=2, neighbours=0)
SPINNING = Variant("default", batch=1, neighbours=0)
BESIDE = Variant("passive", batch=1, neighbours=1)
SPINNING_BESIDE = Variant("default", batch=1, neighbours=1)
VARIANTS = (ALONE, SPINNING, TOGETHER, BESIDE, SPINNING_BESIDE)


class Films(Protocol):
    """What a filming process can do (film_process.FilmProcess)."""

    def film(self, count: int) -> tuple[float, float]: ...


Seconds = Mapping[Variant, Sequence[float]]  # per film, one entry per round


def interleaved(
    processes: Mapping[WaitPolicy, Films], rounds: int, limit_s: float, clock: Callable[[], float]
) -> dict[Variant, list[float]]:
    """Seconds per film of each variant; rounds alternate their direction. Begins no turn after `limit_s`."""
    began = clock()
    seconds: dict[Variant, list[float]] = {variant: [] for variant in VARIANTS}
    for number in range(rounds):
        for variant in VARIANTS if number % 2 == 0 else reversed(VARIANTS):
            if clock() - began > limit_s:
                return seconds
            with busy_neighbours(variant.neighbours):
                taken, _ = processes[variant.wait_policy].film(variant.batch)
            seconds[variant].append(taken / variant.batch)
    return seconds


def served_table(served: Served) -> Iterator[str]:
    """The bars, as Markdown."""
    slowest, typical = max(served.worker_s), statistics.median(served.worker_s)
    yield f"| the whole service, {len(served.worker_s)} videos in turn, warm | measured | bar | |"
    yield "|---|---|---|---|"
    yield (
        f"| worker, claim to stored file | median {typical:.2f} s, slowest {slowest:.2f} s "
        f"| <= {MOST_SECONDS:g} s | {_verdict(typical <= MOST_SECONDS)} |"
    )
    yield f"| client, POST to seen end | median {statistics.median(served.client_s):.2f} s | | |"
    yield (
        f"| worker's peak RSS | {served.peak_rss / 1e9:.2f} GB | <= {MOST_RSS / 1e9:g} GB "
        f"| {_verdict(served.peak_rss <= MOST_RSS)} |"
    )


def variants_table(seconds: Seconds) -> Iterator[str]:
    """Seconds per film and the ratios that follow, as Markdown."""
    yield "| OMP_WAIT_POLICY | batch | busy neighbours | s per video, median | fastest to slowest | turns |"
    yield "|---|---|---|---|---|---|"
    for variant, taken in seconds.items():
        measured = (
            f"{statistics.median(taken):.2f} | {min(taken):.2f} to {max(taken):.2f}" if taken else " | "
        )
        made = f"{variant.wait_policy} | {variant.batch} | {variant.neighbours}"
        yield f"| {made} | {measured} | {len(taken)} |"
    yield ""
    for said, slow, fast in (
        ("default over passive, alone", SPINNING, ALONE),
        ("default over passive, beside a busy neighbour", SPINNING_BESIDE, BESIDE),
        ("one at a time over two at a time", ALONE, TOGETHER),
    ):
        if seconds[slow] and seconds[fast]:
            ratio = statistics.median(seconds[slow]) / statistics.median(seconds[fast])
            yield f"- {said}: {ratio:.2f} times"


def bars_met(served: Served) -> bool:
    """Whether the median video and the worker's memory keep to their bars."""
    return statistics.median(served.worker_s) <= MOST_SECONDS and served.peak_rss <= MOST_RSS


def main(argv: Sequence[str] | None = None, clock: Callable[[], float] = time.monotonic) -> int:
    """0, or 1 with --enforce and a missed bar."""
    parser = argparse.ArgumentParser(description="Time the default preset of the shipped model.")
    parser.add_argument(
        "--videos", type=int, default=5, help="videos through the service, after one to warm up"
    )
    parser.add_argument("--rounds", type=int, default=3, help="turns of each variant")
    parser.add_argument("--limit-s", type=float, default=240.0, help="begin no turn after so many seconds")
    parser.add_argument("--enforce", action="store_true", help="end with 1 when a bar is missed")
    chosen = parser.parse_args(argv)
    for name in ("videos", "rounds"):
        if getattr(chosen, name) < 1:
            parser.error(f"--{name} is {getattr(chosen, name)}; it must be at least 1")
    served = served_videos(chosen.videos)
    print("\n".join(served_table(served)), flush=True)
    with film_processes("passive", "default") as processes:
        threads = {process.started() for process in processes.values()}
        seconds = interleaved(processes, chosen.rounds, chosen.limit_s, clock)
    print(f"\nInterleaved, {' or '.join(map(str, sorted(threads)))} threads:\n")
    print("\n".join(variants_table(seconds)))
    return 1 if chosen.enforce and not bars_met(served) else 0


def _verdict(met: bool) -> str:
    return "met" if met else "**missed**"


if __name__ == "__main__":
    raise SystemExit(main())
