"""`python -m chaos.cancel_times`: how long a GPU goes on with a job that was called off.

From the client's request until the worker has ended the attempt, by the record's clock. Bars: one step and
100 ms while pub/sub lives; where its hint is lost, one beat more. The record's cancel alone, without the
API's hint, stands for a hint that was lost.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from random import Random
from statistics import median

from chaos.load import Client, Ledger
from chaos.scene import Scene, running_scene
from rig.processes import wait_until

from service.contracts.job import VideoJob
from service.contracts.lifecycle import Stage, State

STEP_S, BEAT_S, ALLOWED_S = 0.5, 0.5, 0.1
STEPS, TRIES = 12, 20
WAITS_S = 60.0


def cancel_times(scene: Scene, client: Client, cancel: Callable[[VideoJob], object]) -> list[float]:
    """Seconds of each of TRIES cancels, at seeded random moments of stage 2."""
    random, times = Random(1), []
    for _ in range(TRIES):
        job_id = client.create(f"a shape moving [slow {STEP_S}]", steps=STEPS)
        assert job_id is not None

        def found(job_id: str = job_id) -> VideoJob:
            job = scene.record(job_id)
            assert job is not None
            return job

        wait_until(lambda: found().stage is Stage.IMAGE_TO_VIDEO, WAITS_S, "stage 2 begins")
        time.sleep(random.uniform(STEP_S, 3 * STEP_S))
        asked_at = time.time()
        cancel(found())
        wait_until(lambda: found().terminal, WAITS_S, "the job ends")
        assert found().state is State.CANCELLED
        times.append((found().completed_at or 0.0) - asked_at)
    return times


def main() -> int:
    """Exit code 1 if a median is over its bar; the longest are told, for the machine may be busy."""
    from models.nano import write_nano  # torch: seconds that an import need not wait for

    with tempfile.TemporaryDirectory(prefix="microcinema-cancel-") as name:
        write_nano(Path(name) / "nano")
        with (
            running_scene(Path(name) / "scene", Path(name) / "nano", {}) as scene,
            closing(Client(scene, Ledger(), "cancel")) as client,
        ):
            ways: list[tuple[str, float, Callable[[VideoJob], object]]] = [
                ("by the API", STEP_S + ALLOWED_S, lambda job: client.cancel(job.id)),
                (
                    "with its hint lost",
                    STEP_S + ALLOWED_S + BEAT_S,
                    lambda job: scene.store.cancel(job.tenant, job.id),
                ),
            ]
            kept = True
            for way, bar, cancel in ways:
                times = cancel_times(scene, client, cancel)
                within = sum(seconds <= bar for seconds in times)
                kept = kept and median(times) <= bar
                sys.stdout.write(
                    f"cancel {way}: p50 {median(times):.2f} s, longest {max(times):.2f} s, "
                    f"{within} of {TRIES} within {bar:.1f} s\n"
                )
    return int(not kept)


if __name__ == "__main__":
    sys.exit(main())
