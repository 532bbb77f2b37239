"""Records how a real service with one worker takes a load.

    python -m rig.record_load tests/deploy/loads/micro.json

A burst, an idle minute, a steady stream of half as much again as the worker can do, an idle minute and a
half, one job: videos of the shipped weights, of several numbers of steps. Written down is what
the record says of each job and what the gateway tells Prometheus every second, by which a fleet is scaled.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import tempfile
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families
from redis import Redis

from rig.metered import Metered, metered_service
from rig.processes import ROOT, wait_until
from service.store.script import Store
from service.store.store import JobStore

BURST, STREAM_S, OVERLOAD, IDLE_S = 24, 180.0, 1.5, (60.0, 90.0)
#: What the gateway tells, in the order in which it is written down.
TOLD = ("microcinema_ready_jobs", "microcinema_running_jobs", "microcinema_backlog_gpu_seconds")


@dataclass
class Recording:
    """`seen`: of each second its time and what the gateway told; `names`: the jobs, as they were accepted."""

    service: Metered
    client: httpx.Client
    jobs: JobStore
    draw: random.Random = field(default_factory=lambda: random.Random(7))
    names: list[str] = field(default_factory=list)
    seen: list[tuple[float, ...]] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def watch(self) -> None:
        """Until it is over."""
        with httpx.Client(base_url=self.service.url, timeout=20, trust_env=False) as client:
            while not self.over.wait(1.0):
                at, page = time.time(), client.get("/metrics").text
                families = {family.name: family for family in text_string_to_metric_families(page)}
                told = (sum(one.value for one in families[name].samples) for name in TOLD)
                self.seen.append((at, *told))

    def post(self) -> None:
        """One video, of a number of steps that is drawn."""
        asked = {
            "prompt": "a red circle moving left on a white background",
            "num_inference_steps": self.draw.choice((8, 16, 25)),
        }
        answer = self.client.post("/videos", json=asked)
        assert answer.status_code == 202, answer.text
        self.names.append(answer.json()["id"])

    def worked_off(self) -> None:
        """Every job has ended well."""
        last = self.names[-1]
        wait_until(
            lambda: self.client.get(f"/videos/{last}").json()["state"] == "succeeded", 900, "all is done"
        )

    def play(self) -> None:
        """The whole load."""
        began = time.monotonic()
        for _ in range(BURST):
            self.post()
        self.worked_off()
        rate = OVERLOAD * BURST / (time.monotonic() - began)
        time.sleep(IDLE_S[0])
        until = time.monotonic() + STREAM_S
        while time.monotonic() < until:
            self.post()
            time.sleep(self.draw.expovariate(rate))
        self.worked_off()
        time.sleep(IDLE_S[1])
        self.post()
        self.worked_off()

    def written(self) -> dict[str, object]:
        """Seconds since the first job came, to the millisecond."""
        jobs = [job for name in self.names if (job := self.jobs.get("default", name))]
        assert len(jobs) == len(self.names)
        origin = jobs[0].created_at
        rows = []
        for job in jobs:
            times = (job.created_at, job.started_at or math.nan, job.completed_at or math.nan)
            of_gpu = float(job.usage["gpu_seconds"])
            rows.append([*(round(at - origin, 3) for at in times), round(of_gpu, 3)])
        return {
            "recorded": datetime.now(UTC).date().isoformat(),
            "jobs": rows,
            "seen": [
                [round(at - origin, 3), *(round(value, 3) for value in told)] for at, *told in self.seen
            ],
        }


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m rig.record_load")
    parser.add_argument("file", type=Path)
    chosen = parser.parse_args(argv)
    with (
        tempfile.TemporaryDirectory(prefix="microcinema-load-") as folder,
        metered_service(Path(folder), ROOT / "models/micro", MICROCINEMA_MAX_BATCH="1") as service,
        httpx.Client(base_url=service.url, timeout=20, trust_env=False) as client,
        Redis.from_url(service.redis_url) as redis,
    ):
        service.render(1)  # so that the first job of the load finds everything warm and a pace measured
        recording = Recording(service, client, JobStore(Store(redis)))
        watcher = threading.Thread(target=recording.watch)
        watcher.start()
        try:
            recording.play()
        finally:
            recording.over.set()
            watcher.join()
        rows = ",\n".join(
            f'"{name}": ' + (json.dumps(part) if isinstance(part, str) else _rows(part))
            for name, part in recording.written().items()
        )
        chosen.file.write_text(f"{{\n{rows}\n}}\n")


def _rows(part: object) -> str:
    assert isinstance(part, list)
    return "[\n" + ",\n".join(json.dumps(row) for row in part) + "\n]"


if __name__ == "__main__":
    main()
