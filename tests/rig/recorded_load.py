"""What rig/record_load.py has written down."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rig.autoscaling import Job

RECORDED = Path(__file__).parents[1] / "deploy/loads/micro.json"


@dataclass(frozen=True)
class RecordedLoad:
    """`jobs`: when each came, began and ended, and its GPU seconds. `seen`: time, ready, running, backlog.

    Seconds since the first job came; the backlog is the gateway's own guess of the GPU seconds that wait.
    """

    jobs: Sequence[tuple[float, float, float, float]]
    seen: Sequence[tuple[float, float, float, float]]

    @classmethod
    def read(cls, file: Path = RECORDED) -> RecordedLoad:
        kept = json.loads(file.read_text())
        return cls([tuple(row) for row in kept["jobs"]], [tuple(row) for row in kept["seen"]])

    @property
    def mean_gpu_s(self) -> float:
        return sum(job[3] for job in self.jobs) / len(self.jobs)

    def stretched(self, factor: float) -> list[Job]:
        """The same jobs on a clock that goes so many times slower, their work too."""
        return [Job(came * factor, gpu_s * factor) for came, _, _, gpu_s in self.jobs]

    def waiting_gpu_s(self, at: float) -> float:
        """GPU seconds of the jobs that waited then, as it turned out."""
        return sum(gpu_s for came, began, _, gpu_s in self.jobs if came <= at < began)
