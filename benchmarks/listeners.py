"""What 500 idle listeners to events cost those who poll the same gateway process.

    python -m benchmarks.listeners [--listeners 500] [--rounds 8] [--polls 200] [--enforce]

One gateway process and one server of the embedded kind. Rounds without and with open streams take turns, so a
slow minute of the machine hits both alike; in each, one client polls a job as fast as it is answered. Each
stream is of a waiting job of its own, in which nothing happens but a heartbeat a second (15 times the usual).
Bar: with listeners the median is at most doubled.
"""

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import httpx
from redis import Redis

from benchmarks.queue_depth import REQUEST, server
from service.store.nouns import Submission
from service.store.script import Store
from service.store.store import JobStore
from service.supervision.ports import free_ports

BAR = 2.0
READY_WITHIN_S = 60.0


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.listeners")
    parser.add_argument("--listeners", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--polls", type=int, default=200, help="in each round")
    parser.add_argument("--enforce", action="store_true", help="end with 1 when the bar is missed")
    asked = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="microcinema-bench-") as folder, server() as redis:
        redis_url = f"redis://127.0.0.1:{redis.get_connection_kwargs()['port']}/0"
        with _gateway(Path(folder), redis_url) as url:
            jobs = _waiting(redis, asked.listeners)
            alone, beside = asyncio.run(_measure(url, jobs, asked.rounds, asked.polls))
    ratio = statistics.median(beside) / statistics.median(alone)
    for name, seconds in (("without", alone), (f"with {asked.listeners}", beside)):
        p50, p95 = statistics.median(seconds) * 1000, statistics.quantiles(seconds, n=20)[-1] * 1000
        print(f"{name:>10} listeners: p50 {p50:.2f} ms, p95 {p95:.2f} ms, {len(seconds)} polls")
    print(f"p50 ratio {ratio:.2f} (bar {BAR:g})")
    return 1 if asked.enforce and ratio > BAR else 0


def _waiting(redis: Redis, count: int) -> list[str]:
    names, store = [f"video_{number}" for number in range(count)], JobStore(Store(redis))
    for name in names:
        store.submit(Submission(name, "default", REQUEST, "default", "same", name, count + 1, 3600.0))
    return names


async def _measure(url: str, jobs: list[str], rounds: int, polls: int) -> tuple[list[float], list[float]]:
    alone: list[float] = []
    beside: list[float] = []
    await _poll(url, jobs[0], polls)  # not counted: connections and scripts warm up
    for _ in range(rounds):
        alone += await _poll(url, jobs[0], polls)
        async with _listening(url, jobs):
            beside += await _poll(url, jobs[0], polls)
    return alone, beside


async def _poll(url: str, job: str, polls: int) -> list[float]:
    """Seconds of each GET, asked from a thread of its own: the streams of this process do not delay it."""

    def poll() -> list[float]:
        seconds = []
        with httpx.Client(base_url=url, trust_env=False) as client:
            client.get(f"/videos/{job}").raise_for_status()
            for _ in range(polls):
                began = time.perf_counter()
                client.get(f"/videos/{job}").raise_for_status()
                seconds.append(time.perf_counter() - began)
        return seconds

    return await asyncio.to_thread(poll)


@asynccontextmanager
async def _listening(url: str, jobs: list[str]) -> AsyncIterator[None]:
    """An open stream to each job, its first event taken."""
    host, port = url.removeprefix("http://").split(":")
    writers = []
    try:
        for job in jobs:
            reader, writer = await asyncio.open_connection(host, int(port))
            writers.append(writer)
            writer.write(f"GET /videos/{job}/events HTTP/1.1\r\nhost: {host}\r\n\r\n".encode())
            await reader.readuntil(b"event: video.queued")
        yield
    finally:
        for writer in writers:
            writer.close()


@contextmanager
def _gateway(folder: Path, redis_url: str) -> Iterator[str]:
    (port,) = free_ports(1)
    settings = {
        "REDIS_URL": redis_url,
        "MICROCINEMA_PORT": str(port),
        "MICROCINEMA_STORAGE_DIR": str(folder / "artifacts"),
        "MICROCINEMA_LISTENERS_PER_OWNER": "1000",
        "MICROCINEMA_HEARTBEAT_S": "1",
        "MICROCINEMA_LOG_LEVEL": "WARNING",
    }
    process = subprocess.Popen([sys.executable, "-m", "service.main"], env={**os.environ, **settings})
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + READY_WITHIN_S
        while not _ready(url):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit("the gateway did not come up")
            time.sleep(0.2)
        yield url
    finally:
        process.terminate()
        process.wait()


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/livez", trust_env=False).is_success
    except httpx.TransportError:
        return False


if __name__ == "__main__":
    raise SystemExit(main())
