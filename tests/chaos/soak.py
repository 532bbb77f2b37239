"""`python -m chaos.soak`: many jobs, one of two workers killed every so often, and nothing that grows."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from random import Random
from statistics import median

from chaos.audit import at_rest, audit
from chaos.load import Client, Ledger, Load
from chaos.open_files import open_files
from chaos.run import strike_once
from chaos.scene import WORKERS, Scene, running_scene
from chaos.strike import Strike, kill
from chaos.worker_faults import WorkerKilled
from rig.processes import wait_until

from service.store.audit import Audit

READ_EVERY = 10
PAGE_BYTES = 4096
QUIET_S = 90.0
STEADY = ("gateway", "notifier")
LIVES = WORKERS[
    0
]  # from beginning to end: what a worker that dies every 50 jobs would grow to nobody can tell
#: Per 100 jobs. Less than these is the allocator's settling; one file per killed worker would be 2.
LIMITS = {"mib": 0.5, "files": 0.5, "keys": 0.5}
LEAST_READINGS = 5


class OtherKilled(WorkerKilled):
    """Always the same worker, so that its mate grows old."""

    def strike(self, at: Strike) -> Sequence[str]:
        part = at.busy_worker([part for part in at.scene.workers() if part.name != LIVES])
        at.soon(0.3)
        hit = at.running(part)
        kill(part)
        return hit


@dataclass(frozen=True)
class Reading:
    """How things stand when nothing is under way: resident bytes and open files (by kind) of each process, by
    name and pid (a worker that was killed is another one afterwards), and the record's keys less those of
    ended jobs.

    RQ's keys are left to the audits at the end: a killed worker's ticket lies about until RQ's maintenance.
    """

    jobs: int
    resident: dict[tuple[str, int], int]
    files: dict[tuple[str, int], Counter[str]]
    keys: int


def read(scene: Scene, jobs: int) -> Reading:
    resident, files = {}, {}
    for name, part in scene.parts.items():
        process = Path("/proc") / str(part.forked.pid)
        with contextlib.suppress(OSError):  # killed a moment ago; its heir is in the next reading
            resident[name, part.forked.pid] = int((process / "statm").read_text().split()[1]) * PAGE_BYTES
            files[name, part.forked.pid] = open_files(part.forked.pid)
    kept = sum(1 for key in scene.redis.scan_iter("{mc}:*", count=1000) if not _ends_by_itself(scene, key))
    return Reading(jobs, resident, files, kept)


def _ends_by_itself(scene: Scene, key: bytes) -> bool:
    """A record with its events and deliveries goes with the janitor after a week; the rest by itself."""
    with_the_record = (b"{mc}:job:", b"{mc}:events:", b"{mc}:deliveries:job:")
    return key.startswith(with_the_record) or scene.redis.ttl(key) >= 0


def soak(scene: Scene, *, jobs: int, kill_every: int, seed: int) -> tuple[list[Reading], list[str]]:
    """Readings in the order of time, and breaches. Each reading also goes to stdout as it is made.

    The load stops for each reading: what is under way has keys and connections of its own, which would be
    taken for growth.
    """
    random, ledger, readings, kills = Random(seed), Ledger(), [], 0
    with closing(Client(scene, ledger, f"soak-{seed}-striker")) as client:
        while len(ledger.promises) < jobs:
            until = min(len(ledger.promises) + READ_EVERY, jobs)
            with Load(scene, ledger, f"soak-{seed}-{until}", slow_s=0.02):
                while len(ledger.promises) < until:
                    time.sleep(0.2)
                if len(ledger.promises) >= (kills + 1) * kill_every:
                    kills += 1
                    strike_once(OtherKilled(), Strike(scene, random, client))
            wait_until(lambda: _at_rest(scene, ledger), QUIET_S, "everything comes to rest for a reading")
            if len(ledger.promises) > kill_every:  # until a worker was struck once, all of it warms up
                readings.append(read(scene, len(ledger.promises)))
                sys.stdout.write(f"{_line(readings[-1])}\n")
                sys.stdout.flush()
    found = audit(scene, ledger, losses_allowed=True)
    orphans = [f"microcinema audit: {orphan.key}: {orphan.why}" for orphan in Audit(scene.redis).orphans()]
    states = Counter(job.state for job_id in ledger.promises if (job := scene.record(job_id)) is not None)
    ended = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    sys.stdout.write(f"{ended}; {ledger.refused} bad requests refused, {kills} workers killed\n")
    return readings, found.breaches + orphans


def _line(reading: Reading) -> str:
    """The processes that are never killed: their series are what a person looks at."""
    shown = [
        f"{name} {reading.resident[name, pid] / 2**20:.1f} MiB {dict(sorted(files.items()))}"
        for (name, pid), files in reading.files.items()
        if name in (*STEADY, LIVES)
    ]
    return f"{reading.jobs} jobs, {reading.keys} keys; " + "; ".join(shown)


def _at_rest(scene: Scene, ledger: Ledger) -> bool:
    tickets = scene.redis.llen("rq:queue:gpu-default") + scene.redis.llen("rq:queue:webhooks")
    return at_rest(scene, ledger) and not tickets


@dataclass(frozen=True)
class Growth:
    """Of one thing, per 100 jobs. `limit` None: too few readings to judge. `which`: what changed, by kind."""

    what: str
    per_100_jobs: float
    limit: float | None
    which: str = ""

    @property
    def grows(self) -> bool:
        return self.limit is not None and self.per_100_jobs > self.limit

    def __str__(self) -> str:
        verdict = "too few readings" if self.limit is None else "GROWS" if self.grows else "flat"
        told = f"{self.what}: {self.per_100_jobs:+.3f} per 100 jobs, {verdict}"
        return f"{told} (first to last: {self.which})" if self.which else told


def growth(readings: Sequence[Reading]) -> list[Growth]:
    """Slopes after the warm-up: of Redis keys, of gateway and notifier, and of the worker that lived longest
    (less its own first reading)."""
    lives: dict[tuple[str, int], list[Reading]] = defaultdict(list)
    for reading in readings:
        for process in reading.resident:
            lives[process].append(reading)
    workers = [process for process in lives if process[0] not in STEADY]
    judged = {name: process for process in lives if (name := process[0]) in STEADY}
    if workers:
        judged["worker"] = longest = max(workers, key=lambda process: len(lives[process]))
        lives[longest] = lives[longest][1:]
    grown = [_slope("redis keys", "keys", [(r.jobs, float(r.keys)) for r in readings])]
    for name, process in judged.items():
        life = lives[process]
        grown.append(_slope(f"{name} MiB", "mib", [(r.jobs, r.resident[process] / 2**20) for r in life]))
        files = _slope(f"{name} files", "files", [(r.jobs, float(r.files[process].total())) for r in life])
        grown.append(replace(files, which=_changed(life[0].files[process], life[-1].files[process])))
    return grown


def _changed(first: Counter[str], last: Counter[str]) -> str:
    return ", ".join(
        f"{last[kind] - first[kind]:+d} {kind}"
        for kind in sorted({*first, *last})
        if last[kind] != first[kind]
    )


def _slope(what: str, kind: str, points: Sequence[tuple[int, float]]) -> Growth:
    """The median slope between any two readings (Theil 1950): one connection more is a step, not growth."""
    if len(points) < 2:
        return Growth(what, 0.0, None)
    limit = LIMITS[kind] if len(points) >= LEAST_READINGS else None
    slopes = [(b - a) / (n - m) for (m, a), (n, b) in combinations(points, 2)]
    return Growth(what, 100 * median(slopes), limit)


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 1 if a promise was broken or something grew."""
    parser = argparse.ArgumentParser(description="Many jobs, some kills, and what grew meanwhile.")
    parser.add_argument("--jobs", type=int, default=500)
    parser.add_argument("--kill-every", type=int, default=50, help="jobs between two kills of a worker")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args(arguments)
    from models.nano import write_nano  # torch: seconds that --help need not wait for

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory(prefix="microcinema-soak-") as name:
        write_nano(Path(name) / "nano")
        with running_scene(Path(name) / "scene", Path(name) / "nano", {}) as scene:
            readings, breaches = soak(scene, jobs=chosen.jobs, kill_every=chosen.kill_every, seed=chosen.seed)
    grown = growth(readings)
    sys.stdout.write("".join(f"{line}\n" for line in (*grown, *breaches)))
    clean = not breaches and not any(line.grows for line in grown)
    sys.stdout.write(f"{chosen.jobs} jobs: {'clean' if clean else 'NOT CLEAN'}\n")
    return int(not clean)


if __name__ == "__main__":
    sys.exit(main())
