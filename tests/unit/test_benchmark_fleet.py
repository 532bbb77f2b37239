"""How the benchmark of starts and scrapes counts; what it measures is in docs/benchmarks.md."""

import os
import time

import pytest

from benchmarks.first_job import first_over_steady
from benchmarks.fleet import cpu_s, p99


@pytest.mark.parametrize(("count", "expected"), [(1, 1), (50, 50), (100, 99), (101, 100), (1000, 990)])
def test_the_ninety_ninth_of_a_hundred(count: int, expected: float) -> None:
    values = [float(number) for number in range(count, 0, -1)]
    assert p99(values) == expected


def test_the_cpu_time_of_a_process_is_what_the_system_says_of_it() -> None:
    deadline = time.process_time() + 0.2
    while time.process_time() < deadline:
        pass
    own = os.times()
    assert cpu_s(os.getpid()) == pytest.approx(own.user + own.system, abs=0.1)


def test_the_first_job_is_held_against_the_median_of_the_others() -> None:
    assert first_over_steady([3.0, 1.0, 2.0, 9.0]) == 1.5
