"""Draws docs/images/scaling.webp: the shipped scaling rule against a burst, a steady stream and idleness.

python -m rig.draw_scaling
"""

from __future__ import annotations

import random

import yaml

from rig.autoscaling import Fleet, Job, Rule
from rig.chart import chart, sheet
from rig.processes import ROOT
from rig.recorded_load import RecordedLoad

HOUR, JOB_S, COLD_S = 3600, 30.0, 120.0
SIZE = (760, 230)


def loads() -> dict[str, tuple[list[Job], float]]:
    """The same four as in tests/deploy/test_scaling.py, with how long to look."""
    recorded = RecordedLoad.read()
    real = recorded.stretched(JOB_S / recorded.mean_gpu_s)
    draw, steady, now = random.Random(7), [], 0.0
    while (now := now + draw.expovariate(0.6 * 8 / JOB_S)) < 3 * HOUR:
        steady.append(Job(now, draw.uniform(0.5, 1.5) * JOB_S))
    return {
        "200 jobs at once": ([Job(60, JOB_S) for _ in range(200)], 0.75 * HOUR),
        "a steady stream, six tenths of eight workers, for three hours": (steady, 3.75 * HOUR),
        "one job every two hours": ([Job(at, JOB_S) for at in range(600, 6 * HOUR, 2 * HOUR)], 7 * HOUR),
        "recorded: 24 at once, a stream that is half too much for one worker, one more": (
            real,
            real[-1].came + 0.5 * HOUR,
        ),
    }


def main() -> None:
    rule = Rule.of(yaml.safe_load((ROOT / "deploy/kubernetes/scaling/worker.yaml").read_text()))
    panels = []
    for title, (jobs, until) in loads().items():
        fleet = Fleet(rule, COLD_S, 540.0, 10.0)
        fleet.play(jobs, until)
        lines = {
            name: [(row[0], float(row[column])) for row in fleet.seen]
            for column, name in ((1, "workers"), (3, "running"))
        }
        panels.append(chart(title, "none", lines, SIZE))
        panels.append(chart("waiting", "none", {"waiting": [(row[0], row[2]) for row in fleet.seen]}, SIZE))
        waits = sorted(job.ended - job.came for job in jobs)
        worker_hours = sum(row[1] for row in fleet.seen) * 15 / HOUR
        print(
            f"{title}: {len(jobs)} jobs, median {waits[len(waits) // 2]:.0f} s, longest {waits[-1]:.0f} s, "
            f"most waiting {max(row[2] for row in fleet.seen)}, {worker_hours:.1f} worker hours"
        )
    sheet(panels, 2).save(ROOT / "docs/images/scaling.webp", quality=60, method=6)


if __name__ == "__main__":
    main()
