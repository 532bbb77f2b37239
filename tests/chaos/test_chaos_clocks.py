"""A skewed clock is believed by the process and by nobody else, and changes under it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis
from rig.processes import free_ports, wait_until
from rig.skewed_clock import SkewedClock, preloaded_library
from rig.valkey import answers, valkey

from service.contracts.request import VideoRequest
from service.store.connections import connect_sync
from service.store.nouns import Beat, Submission
from service.store.script import Store
from service.store.store import JobStore

pytestmark = pytest.mark.skipif(preloaded_library() is None, reason="no C compiler (cc) is installed")

LEASE_S = 60.0  # far more than a busy machine stalls, far less than the jumps
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


def submission(job_id: str) -> Submission:
    request = VideoRequest(
        prompt="a shape",
        model="nano",
        width=32,
        height=32,
        num_frames=4,
        fps=8,
        seed=1,
        num_inference_steps=2,
        guidance_scale=2.0,
        gamma=0.02,
        sampler="ddim",
    )
    return Submission(
        job_id=job_id,
        tenant="default",
        pool="default",
        request=request,
        compat="c",
        digest="d",
        queue_limit=10,
        retention_s=60.0,
    )


@pytest.fixture
def skewed(tmp_path: Path) -> Iterator[tuple[SkewedClock, Redis]]:
    """A real server with a clock of its own, and a client of it."""
    clock = SkewedClock(tmp_path / "skew")
    (port,) = free_ports(1)
    server = valkey(tmp_path / "valkey", port)
    server.environment = clock.environment
    server.start()
    url = f"redis://127.0.0.1:{port}/0"
    try:
        wait_until(lambda: answers(url), 30, "valkey answers")
        with connect_sync(url, timeout_s=10) as redis:
            yield clock, redis
    finally:
        server.end()


def jump(clock: SkewedClock, redis: Redis, skew: float) -> None:
    """The server looks at its clock now and then, and has seen the jump when this returns."""
    clock.set(skew)
    wait_until(lambda: abs(redis.time()[0] - time.time() - skew) < 30, 30, f"the server is {skew:g} s off")


def test_a_real_server_whose_clock_jumps_takes_no_worker_for_dead(
    skewed: tuple[SkewedClock, Redis],
) -> None:
    clock, redis = skewed
    jobs = JobStore(Store(redis))
    jobs.reap(LEASE_S, every_s=0.0)
    ids = [f"video_{number}" for number in range(5)]
    for job_id in ids:
        jobs.submit(submission(job_id))
    held = [(claim.job.id, claim.attempt) for claim in jobs.claim("default", "w1", 5, LEASE_S, ["nano"])]
    assert [job_id for job_id, _ in held] == ids
    for skew in (600.0, 0.0, -600.0, 0.0):
        jump(clock, redis, skew)
        reaped = jobs.reap(LEASE_S, every_s=0.0)
        assert (reaped.ran, reaped.extended, reaped.ids, reaped.expired) == (True, True, (), ())
        assert set(jobs.beat("w1", held, LEASE_S).values()) == {Beat.OK}
    assert [job.lost for job_id in ids if (job := jobs.record(job_id))] == [0] * 5
