"""One video, three workers: one is killed, one is sent away at once, the last makes what is left."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from rig.plain_http import PLAIN
from rig.processes import wait_until

from models.cinema import MICRO_WEIGHTS
from service.contracts.job import VideoJob
from service.contracts.lifecycle import State

STEPS = 30
WISH = {
    "prompt": "a red circle moving right on a white background",
    "seed": 7,
    "num_inference_steps": STEPS,
}


def steps_made(worker: Any) -> int:
    """Denoising steps of stage 2 that this worker has counted."""
    probes = next(
        line["probes"] for line in map(json.loads, worker.output().splitlines()) if "probes" in line
    )
    text = httpx.get(f"{probes}/metrics", timeout=10, **PLAIN).text
    found = re.search(r'^microcinema_worker_step_seconds_count{stage="image_to_video"} (\S+)', text, re.M)
    return int(float(found[1])) if found else 0


@pytest.mark.timeout(400)
def test_a_video_outlives_its_workers_and_no_step_that_was_kept_is_made_again(
    start_service: Callable[..., Any],
) -> None:
    service = start_service(
        MICROCINEMA_WEIGHTS=str(MICRO_WEIGHTS),
        MICROCINEMA_CHECKPOINT_EVERY_S="0",
        MICROCINEMA_DRAIN_GRACE_S="0",
    )
    store = service.store()

    def record(job_id: str | None = None) -> VideoJob:
        job = store.record(job_id or video_id)
        assert job is not None
        return job

    def kept() -> int:
        checkpoint = record().checkpoint
        return checkpoint.step if checkpoint else 0

    first = service.worker("first")
    video_id = service.create(**WISH)["id"]
    wait_until(lambda: kept() >= 4, 60, "four steps are kept")
    first.kill()
    killed_at = kept()

    second = service.worker("second")
    wait_until(lambda: kept() >= killed_at + 4, 60, "the second worker has kept four more")
    second.terminate()
    assert second.wait(30) == 0
    job, left_at = record(), kept()
    assert (job.state, job.attempt, job.lost) == (State.QUEUED, 2, 1)  # the kill counts, leaving does not
    assert killed_at + 4 <= left_at < STEPS

    third = service.worker("third")
    wait_until(lambda: record().state is State.SUCCEEDED, 120, "the third worker ends it")
    assert (record().attempt, record().lost) == (3, 1)
    assert steps_made(third) == STEPS - left_at
    assert record().keyframe_attempt == 1

    undisturbed = service.create(**WISH)["id"]
    wait_until(lambda: record(undisturbed).state is State.SUCCEEDED, 120, "another runs undisturbed")
    assert steps_made(third) == STEPS - left_at + STEPS
    made, whole = record().artifact, record(undisturbed).artifact
    assert made is not None
    assert whole is not None
    assert made.frame_digest == whole.frame_digest
