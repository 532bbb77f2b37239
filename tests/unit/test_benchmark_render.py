"""The render benchmark: fair turns, an end by itself, and figures beside their bars."""

import os
import resource
from itertools import count
from typing import Any

import pytest

from benchmarks.film_process import FilmProcess, NoAnswer
from benchmarks.render import (
    ALONE,
    SPINNING,
    TOGETHER,
    VARIANTS,
    bars_met,
    interleaved,
    main,
    served_table,
    variants_table,
)
from benchmarks.served import Served, peak_rss


class Camera:
    """Films at once; says that a film took as many seconds as it was told."""

    def __init__(self, name: str, seconds: float, turns: list[tuple[str, int]]) -> None:
        self.name, self.seconds, self.turns = name, seconds, turns

    def film(self, count: int) -> tuple[float, float]:
        self.turns.append((self.name, count))
        return self.seconds * count, 1e9


def cameras(turns: list[tuple[str, int]]) -> Any:
    return {"passive": Camera("passive", 2.0, turns), "default": Camera("default", 5.0, turns)}


def test_every_variant_has_one_turn_a_round_and_rounds_alternate() -> None:
    turns: list[tuple[str, int]] = []
    seconds = interleaved(cameras(turns), 2, limit_s=1e9, clock=count().__next__)
    wanted = [(variant.wait_policy, variant.batch) for variant in VARIANTS]
    assert turns == [*wanted, *reversed(wanted)]
    assert seconds[ALONE] == seconds[TOGETHER] == [2.0, 2.0]
    assert seconds[SPINNING] == [5.0, 5.0]
    lines = list(variants_table(seconds))
    assert "| default | 1 | 0 | 5.00 | 5.00 to 5.00 | 2 |" in lines
    assert "- default over passive, alone: 2.50 times" in lines


def test_it_ends_by_itself() -> None:
    turns: list[tuple[str, int]] = []
    seconds = interleaved(cameras(turns), 1000, limit_s=3.0, clock=count().__next__)
    assert turns == [("passive", 1), ("default", 1), ("passive", 2)]
    lines = list(variants_table(seconds))
    assert "| passive | 1 | 1 |  |  | 0 |" in lines
    assert not any("beside" in line for line in lines)


def test_a_silent_process_is_ended() -> None:
    process = FilmProcess("passive", longest_answer_s=0.05)
    try:
        with pytest.raises(NoAnswer, match=r"no answer from the filming process within 0\.05 s"):
            process.started()
    finally:
        process.end()


@pytest.mark.parametrize(
    ("worker_s", "rss", "met"),
    [((4.0, 10.0, 30.0), 2.5e9, True), ((4.0, 10.1, 30.0), 1e9, False), ((1.0,), 2.6e9, False)],
)
def test_bars_hold_for_the_median_video_and_the_worker(
    worker_s: tuple[float, ...], rss: float, met: bool
) -> None:
    served = Served(worker_s, client_s=worker_s, peak_rss=int(rss))
    assert bars_met(served) is met
    assert ("**missed**" in "\n".join(served_table(served))) is not met


def test_peak_memory_is_what_the_kernel_counts_elsewhere() -> None:
    other = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    assert peak_rss(os.getpid()) == pytest.approx(other, rel=0.1)


def test_the_command_names_a_bad_number(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--rounds", "0"])
    assert "--rounds is 0; it must be at least 1" in capsys.readouterr().err
