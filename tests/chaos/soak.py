"""`python -m chaos.soak`: many jobs, a worker killed every so often, and nothing that grows."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import linear_regression

from chaos.audit import audit
from chaos.load import Client, Ledger, Load
from chaos.run import strike_once
from chaos.scene import Scene, running_scene
from chaos.strike import Strike
from chaos.worker_faults import WorkerKilled

WARM_UP_JOBS = 50
PAGE_BYTES = 4096
STEADY = ("gateway", "notifier")  # workers are killed, so theirs says little


@dataclass(frozen=True)
class Reading:
    """Resident bytes and open files of each steady process, keys in Redis less those of ended jobs."""

    jobs: int
    resident: dict[str, int]
    files: dict[str, int]
    keys: int


def read(scene: Scene, jobs: int) -> Reading:
    resident, files = {}, {}
    for name in STEADY:
        process = Path("/proc") / str(scene.parts[name].forked.pid)
        resident[name] = int((process / "statm").read_text().split()[1]) * PAGE_BYTES
        files[name] = len(list((process / "fd").iterdir()))
    kept = sum(1 for key in scene.redis.scan_iter("*", count=1000) if not _ends_by_itself(scene, key))
    return Reading(jobs, resident, files, kept)


def _ends_by_itself(scene: Scene, key: bytes) -> bool:
    """Records and their events go with the janitor after a week; the rest of a job has a time to live."""
    return key.startswith((b"{mc}:job:", b"{mc}:events:")) or scene.redis.ttl(key) >= 0


def soak(scene: Scene, *, jobs: int, kill_every: int, seed: int) -> tuple[list[Reading], list[str]]:
    """Readings in the order of time, and breaches."""
    random, ledger, readings, kills = Random(seed), Ledger(), [], 0
    with (
        closing(Client(scene, ledger, f"soak-{seed}-striker")) as client,
        Load(scene, ledger, f"soak-{seed}", slow_s=0.02),
    ):
        while len(ledger.promises) < jobs:
            time.sleep(1.0)
            if len(ledger.promises) >= WARM_UP_JOBS:
                readings.append(read(scene, len(ledger.promises)))
            if len(ledger.promises) >= (kills + 1) * kill_every:
                kills += 1
                strike_once(WorkerKilled(), Strike(scene, random, client))
    found = audit(scene, ledger, losses_allowed=True)
    return readings, found.breaches


def growth(readings: Sequence[Reading]) -> dict[str, float]:
    """Slopes per 100 jobs: resident MiB and open files of each steady process, and Redis keys."""
    at = [reading.jobs for reading in readings]

    def slope(values: Sequence[float]) -> float:
        return round(100 * linear_regression(at, values).slope, 3)

    grown = {"redis_keys": slope([float(reading.keys) for reading in readings])}
    for name in STEADY:
        grown[f"{name}_mib"] = slope([reading.resident[name] / 2**20 for reading in readings])
        grown[f"{name}_files"] = slope([float(reading.files[name]) for reading in readings])
    return grown


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 1 if a promise was broken; what grew is printed, for a person to judge."""
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
    sys.stdout.write(json.dumps({"jobs": chosen.jobs, "growth_per_100_jobs": growth(readings)}) + "\n")
    sys.stdout.write("".join(f"{breach}\n" for breach in breaches))
    return int(bool(breaches))


if __name__ == "__main__":
    sys.exit(main())
