"""A skewed clock is believed by the process and by nobody else, and changes under it."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from rig.processes import free_ports, wait_until
from rig.skewed_clock import SkewedClock, preloaded_library
from rig.valkey import answers, valkey

from service.store.connections import connect_sync

pytestmark = pytest.mark.skipif(preloaded_library() is None, reason="no C compiler (cc) is installed")

ASKED = "import sys, time\nfor _ in sys.stdin: print(time.time(), time.monotonic(), flush=True)"


def test_a_process_believes_its_skewed_clock_and_goes_on_counting(tmp_path: Path) -> None:
    clock = SkewedClock(tmp_path / "skew")
    with subprocess.Popen(
        [sys.executable, "-c", ASKED],
        env=clock.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for skew in (0.0, 420.0, -900.0):
            clock.set(skew)
            before, counted = time.time(), time.monotonic()
            process.stdin.write("now\n")
            process.stdin.flush()
            told, counts = map(float, process.stdout.readline().split())
            assert before + skew - 0.01 <= told <= time.time() + skew + 0.01
            assert counted <= counts <= time.monotonic()
        process.stdin.close()


def test_a_valkey_believes_it_too(tmp_path: Path) -> None:
    clock = SkewedClock(tmp_path / "skew")
    (port,) = free_ports(1)
    server = valkey(tmp_path / "valkey", port)
    server.environment = clock.environment
    url = f"redis://127.0.0.1:{port}/0"
    server.start()
    try:
        wait_until(lambda: answers(url), 30, "valkey answers")
        with connect_sync(url, timeout_s=10) as redis:
            for skew in (600.0, -600.0):
                clock.set(skew)
                wait_until(
                    lambda skew=skew: abs(redis.time()[0] - time.time() - skew) < 30,  # type: ignore[misc]
                    30,
                    f"the server is {skew:g} s off",
                )
    finally:
        server.end()
