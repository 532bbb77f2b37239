"""One SIGTERM and not enough time: the job goes back as it stands, and nobody counts a lost worker."""

import threading
from typing import Any

from service.contracts.lifecycle import State


def test_a_worker_whose_grace_is_over_gives_its_job_back_as_it_stands(ward: Any, loop: Any) -> None:
    leave = threading.Event()
    ward.renderer.at = {
        ("image_to_video", 2): loop.sigterm,
        ("image_to_video", 4): lambda: loop.until(leave.is_set),
    }
    ward.submit()
    code, metrics = loop.run(ward, leave=leave, drain_grace_s=0.0, lease_s=60.0)
    job = ward.job()
    assert code == 0
    assert (job.state, job.lost, job.attempt, job.checkpoint.step >= 2) == (State.QUEUED, 0, 1, True)
    assert loop.value(metrics, "attempts_total", outcome="released", code="worker_stopped") == 1
    assert loop.value(metrics, "checkpoints_total", outcome="written") == 1
    assert ward.tickets.waiting("gpu-default") == 1

    ward.renderer.at = {("image_to_video", 6): loop.sigterm}
    code, metrics = loop.run(ward, name="w2", drain_grace_s=600.0, lease_s=60.0)
    assert code == 0
    assert (ward.job().state, ward.job().lost) == (State.SUCCEEDED, 0)
    assert loop.value(metrics, "checkpoints_total", outcome="resumed") == 1
    steps = [step for stage, step in ward.renderer.stepped if stage == "image_to_video"]
    assert steps == [1, 2, 3, 4, 5, 6]
    assert len(ward.renderer.painted) == 1


def test_a_worker_that_was_given_no_grace_finishes_what_it_has(ward: Any, loop: Any) -> None:
    leave = threading.Event()
    ward.renderer.at = {("image_to_video", 2): loop.sigterm}
    ward.submit()
    code, _ = loop.run(ward, leave=leave, lease_s=60.0)
    assert code == 0
    assert ward.job().state is State.SUCCEEDED
    assert not leave.is_set()
