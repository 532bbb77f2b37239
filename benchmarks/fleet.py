"""What it costs to start, to scrape and to do nothing.

    python -m benchmarks.fleet [--starts 5] [--scrapes 100] [--idle-s 60] [--enforce]

Real processes on a server of the embedded kind: a gateway until it answers, its metrics while 10,000 jobs
wait, a worker with the shipped model until it is ready for jobs, and the same worker without any. Beside the
time on the clock stands the CPU time of the process, which a busy machine does not stretch.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from redis import Redis

from benchmarks.queue_depth import Queue, server
from service.supervision.ports import free_ports

WAITING = 10_000
GATEWAY_BAR_S, SCRAPE_BAR_S, IDLE_BAR = 2.0, 0.020, 0.01
#: The gateway remembers a reading of the queue for a second: sooner, a scrape would measure nothing.
SCRAPE_EVERY_S = 1.05
_TICKS = os.sysconf("SC_CLK_TCK")
_LOOK_S = 0.005


@dataclass(frozen=True)
class Start:
    """Seconds from the start of a process to its first good answer: on the clock, and of its CPU."""

    clock_s: float
    cpu_s: float


def cpu_s(pid: int) -> float:
    """User and system time that a process has had (s)."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


@contextmanager
def started(
    module: str, environment: dict[str, str], url: str
) -> Iterator[tuple[subprocess.Popen[bytes], Start]]:
    """A process of the service, from the moment at which `url` answers 200."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", module],
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while not _answers(url):
            if process.poll() is not None:
                raise RuntimeError(f"{module} has ended with {process.returncode}")
            time.sleep(_LOOK_S)
        yield process, Start(time.perf_counter() - began, cpu_s(process.pid))
    finally:
        process.terminate()
        process.wait(60)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5, trust_env=False).is_success
    except httpx.HTTPError:
        return False


def scrapes_s(url: str, count: int) -> list[float]:
    """Seconds of each of so many scrapes, all of fresh readings."""
    taken = []
    with httpx.Client(timeout=30, trust_env=False) as client:
        client.get(url)
        for _ in range(count):
            time.sleep(SCRAPE_EVERY_S)
            began = time.perf_counter()
            client.get(url).raise_for_status()
            taken.append(time.perf_counter() - began)
    return taken


def p99(values: list[float]) -> float:
    """The least value that 99 of 100 do not pass."""
    return sorted(values)[max(0, -(-99 * len(values) // 100) - 1)]


def measure(
    redis: Redis, folder: Path, starts: int, scrapes: int, idle_s: float
) -> Iterator[tuple[str, bool]]:
    """A line for each figure as it is there, and whether it keeps its bar."""
    port, probe = free_ports(2)
    kwargs = redis.connection_pool.connection_kwargs
    environment = {
        "REDIS_URL": f"redis://127.0.0.1:{kwargs['port']}/0",
        "MICROCINEMA_PORT": str(port),
        "MICROCINEMA_STORAGE_DIR": str(folder / "artifacts"),
        "MICROCINEMA_SPOOL_DIR": str(folder / "spool"),
        "MICROCINEMA_CREDENTIALS_DIR": str(folder / "credentials"),
        "MICROCINEMA_PROBE_PORT": str(probe),
        "MICROCINEMA_DEVICE": "cpu",
        "HF_HUB_OFFLINE": "1",
    }
    url, opened = f"http://127.0.0.1:{port}", []
    for _ in range(starts):
        with started("service.main", environment, f"{url}/livez") as (_process, start):
            opened.append(start)
    cpu, clock = (statistics.median(getattr(s, name) for s in opened) for name in ("cpu_s", "clock_s"))
    best = min(s.clock_s for s in opened)
    yield (
        f"gateway cold start: {clock:.2f} s median, {best:.2f} s best of {starts}; {cpu:.2f} s of CPU",
        clock <= GATEWAY_BAR_S,
    )
    Queue(redis).fill(WAITING)
    with started("service.main", environment, f"{url}/livez") as (gateway, _):
        before = cpu_s(gateway.pid)
        taken = scrapes_s(f"{url}/metrics", scrapes)
        each = (cpu_s(gateway.pid) - before) / scrapes
    slowest = p99(taken)
    yield (
        f"scrape with {WAITING} jobs waiting: {1000 * slowest:.1f} ms p99, "
        f"{1000 * statistics.median(taken):.1f} ms median of {scrapes}; {1000 * each:.1f} ms of the "
        "gateway's CPU a second, its sweep included",
        slowest <= SCRAPE_BAR_S,
    )
    redis.flushall()
    environment["MICROCINEMA_STORAGE_DIR"] = str(folder / "another")  # the first one belonged to that record
    with started("worker.main", environment, f"http://127.0.0.1:{probe}/readyz") as (worker, start):
        yield (
            f"worker cold start, microcinema-micro: {start.clock_s:.2f} s; {start.cpu_s:.2f} s of CPU",
            True,
        )
        time.sleep(5)
        before, began = cpu_s(worker.pid), time.perf_counter()
        time.sleep(idle_s)
        share = (cpu_s(worker.pid) - before) / (time.perf_counter() - began)
    yield (f"idle worker: {100 * share:.2f} % of a core over {idle_s:g} s", share <= IDLE_BAR)


def main() -> int:
    """Prints the figures; with --enforce 1 if a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--starts", type=int, default=5)
    parser.add_argument("--scrapes", type=int, default=100)
    parser.add_argument("--idle-s", type=float, default=60.0)
    parser.add_argument("--enforce", action="store_true", help="exit code 1 for a bar that is missed")
    chosen = parser.parse_args()
    print(f"load average before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    with server() as redis, tempfile.TemporaryDirectory(prefix="microcinema-bench-") as folder:
        missed = 0
        for line, kept in measure(redis, Path(folder), chosen.starts, chosen.scrapes, chosen.idle_s):
            print(f"{'ok    ' if kept else 'MISSED'}  {line}", flush=True)
            missed += not kept
    return int(chosen.enforce and missed > 0)


if __name__ == "__main__":
    sys.exit(main())
