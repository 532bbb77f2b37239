"""Jobs that run out of device memory: what is tried, what is told, and what becomes of the worker."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import structlog
import torch
from prometheus_client import generate_latest

from models.thrift import Thrift
from service.contracts.failure import FailureCode
from service.contracts.lifecycle import State
from worker.device.accelerator import DeviceMemory
from worker.device.ladder import CALM_JOBS
from worker.device.plan import GIB
from worker.events import BatchSplit, Fault
from worker.logbook import Logbook
from worker.memory_events import MemoryRungClimbed, MemoryRungHelped, MemoryRungLeft
from worker.metrics import WorkerMetrics

PLANNED, FRAME_BY_FRAME = Thrift(decode_chunk=4), Thrift(decode_chunk=1)
PARKED = Thrift(decode_chunk=1, park_idle=True)


def full(times: int) -> Callable[[], None]:
    """A network that finds no memory the first `times` times."""
    left = iter(range(times))

    def action() -> None:
        if next(left, None) is not None:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    return action


def until(ward: Any, thrift: Thrift) -> Callable[[], None]:
    """A network that finds no memory before the model has been told to be as sparing as `thrift`."""

    def action() -> None:
        if ward.renderer.thrifts[-1] != thrift:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    return action


def run(ward: Any, worker: Any, job_id: str, **fields: Any) -> State:
    ward.submit(job_id, **fields)
    worker.engine.run_ticket()
    state: State = ward.job(job_id).state
    return state


def rungs(ward: Any, kind: type = MemoryRungClimbed) -> list[str]:
    return [event.rung for event in ward.heard(kind)]


@pytest.mark.parametrize("moment", [("text_to_image", 2), ("image_to_video", 5)])
def test_full_while_denoising_parks_idle_networks_and_the_job_succeeds(ward: Any, moment: Any) -> None:
    worker = ward.worker()
    ward.renderer.at = {moment: until(ward, PARKED)}
    assert run(ward, worker, "video_a") is State.SUCCEEDED
    assert ward.renderer.thrifts == [PLANNED, PARKED]
    climbed = ward.heard(MemoryRungClimbed)[0]
    assert (climbed.job_id, climbed.attempt, climbed.stage) == ("video_a", 1, moment[0])
    assert rungs(ward) == rungs(ward, MemoryRungHelped) == ["park_idle"]
    assert ward.job().attempt == 1  # the same attempt, not another turn in the queue
    assert ward.job().usage["memory_rung"] == 3.0
    assert len(ward.accelerator.freed) == 1
    assert ward.heard(Fault) == []


def test_full_while_decoding_first_decodes_frame_by_frame_and_keeps_the_latents(ward: Any) -> None:
    worker = ward.worker()
    ward.renderer.at = {("decode", 3): until(ward, FRAME_BY_FRAME)}
    assert run(ward, worker, "video_a") is State.SUCCEEDED
    assert rungs(ward) == ["one_frame"]
    assert len(ward.renderer.animated) == 1  # the steps were not repeated
    assert ward.job().usage["memory_rung"] == 2.0
    assert (ward.job().artifact.frames, ward.job().progress) == (4, 100)


def test_the_ladder_goes_on_to_the_next_rung_where_one_is_not_enough(ward: Any) -> None:
    worker = ward.worker()
    ward.renderer.at = {("decode", 1): until(ward, PARKED)}
    assert run(ward, worker, "video_a") is State.SUCCEEDED
    assert rungs(ward) == ["one_frame", "park_idle"]
    assert ward.renderer.thrifts == [PLANNED, FRAME_BY_FRAME, PARKED]


def test_no_rung_helps_one_clear_failure_and_the_worker_lives_on(ward: Any) -> None:
    worker = ward.worker()
    ward.renderer.at = {("image_to_video", 2): full(2)}
    assert run(ward, worker, "video_a") is State.FAILED
    failure = ward.job().failure
    assert failure.code is FailureCode.OUT_OF_MEMORY
    assert "even for this video alone" in failure.message
    assert not failure.retryable
    assert not worker.engine.stopping
    assert rungs(ward, MemoryRungLeft) == ["park_idle"]  # the next job need not pay for this one
    assert run(ward, worker, "video_b") is State.SUCCEEDED
    assert ward.renderer.thrifts == [PLANNED, PARKED, PLANNED]
    assert "memory_rung" not in ward.job("video_b").usage
    assert rungs(ward, MemoryRungHelped) == []


def test_a_full_batch_is_run_one_by_one_and_so_are_the_next_jobs(ward: Any) -> None:
    worker = ward.worker(max_batch=4)
    ids = ["video_a", "video_b", "video_c"]

    def only_alone() -> None:
        if len(ward.renderer.animated[-1]) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")

    ward.renderer.at = {("image_to_video", 1): only_alone}
    for job_id in ids:
        ward.submit(job_id)
    worker.engine.run_ticket()
    assert [ward.job(job_id).state for job_id in ids] == [State.QUEUED] * 3
    assert [event.size for event in ward.heard(BatchSplit)] == [3]
    assert rungs(ward) == ["one_job"] * 3  # one line per job: each can be traced
    ward.submit("video_d")
    for _ in range(4):
        worker.engine.run_ticket()
    for job_id in [*ids, "video_d"]:
        assert ward.job(job_id).state is State.SUCCEEDED
        assert ward.job(job_id).usage["memory_rung"] == 1.0
    assert [len(orders) for orders in ward.renderer.animated] == [3, 1, 1, 1, 1]
    assert ward.renderer.thrifts == [PLANNED]  # nothing else had to be given up
    assert rungs(ward, MemoryRungHelped) == ["one_job"]


def test_the_last_one_left_of_a_full_batch_runs_alone_too_instead_of_failing(ward: Any) -> None:
    worker = ward.worker(max_batch=4)
    ward.submit("video_a")
    ward.submit("video_b")

    def cancel() -> None:
        ward.store.cancel("default", "video_b")
        worker.leases.beat(lambda held: ward.store.beat("w1", held, 2.0))

    ward.renderer.at = {("image_to_video", 1): cancel, ("image_to_video", 3): full(1)}
    worker.engine.run_ticket()
    assert (ward.job("video_a").state, ward.job("video_b").state) == (State.QUEUED, State.CANCELLED)
    worker.engine.run_ticket()
    assert ward.job("video_a").state is State.SUCCEEDED


def test_the_worker_comes_down_rung_by_rung_while_all_goes_well(ward: Any) -> None:
    worker = ward.worker(max_batch=2)
    ward.renderer.at = {("decode", 1): until(ward, PARKED)}
    assert run(ward, worker, "video_0") is State.SUCCEEDED
    assert rungs(ward) == ["one_frame", "park_idle"]
    ward.renderer.at = {}
    for number in range(1, 3 * CALM_JOBS + 1):
        assert run(ward, worker, f"video_{number}", num_inference_steps=4) is State.SUCCEEDED
        expected = 3 - number // CALM_JOBS
        heights = [event.height for event in ward.heard(MemoryRungLeft)]
        assert (heights or [3])[-1] == expected
    assert rungs(ward, MemoryRungLeft) == ["park_idle", "one_frame", "one_job"]
    assert ward.renderer.thrifts == [PLANNED, FRAME_BY_FRAME, PARKED, FRAME_BY_FRAME, PLANNED]
    assert ward.job("video_1").usage["memory_rung"] == 3.0
    run(ward, worker, "video_last")
    assert "memory_rung" not in ward.job("video_last").usage


def test_trouble_on_the_way_down_begins_the_count_again(ward: Any) -> None:
    worker = ward.worker()
    ward.renderer.at = {("decode", 1): until(ward, FRAME_BY_FRAME)}
    for number in range(2 * CALM_JOBS + 4):
        assert run(ward, worker, f"video_{number}", num_inference_steps=4) is State.SUCCEEDED
    # up, CALM_JOBS calm videos, down, and at once up again
    assert rungs(ward)[:2] == ["one_frame", "one_frame"]
    assert len(ward.heard(MemoryRungLeft)) == 2
    climbs = [event.job_id for event in ward.heard(MemoryRungClimbed)]
    assert climbs == ["video_0", f"video_{CALM_JOBS + 1}", f"video_{2 * CALM_JOBS + 2}"]


def test_a_host_has_nowhere_to_park_and_fails_the_job_at_once(ward: Any) -> None:
    ward.accelerator.memory = lambda: DeviceMemory(16 * GIB, is_host=True)
    worker = ward.worker()
    ward.renderer.at = {("image_to_video", 2): ward.raising(MemoryError("out of memory"))}
    assert run(ward, worker, "video_a") is State.FAILED
    assert ward.job().failure.code is FailureCode.OUT_OF_MEMORY
    assert rungs(ward) == []
    assert len(ward.renderer.animated) == 1


def test_other_errors_climb_nothing(ward: Any) -> None:
    worker = ward.worker()
    ward.renderer.at = {("decode", 1): ward.raising(ValueError("something else"))}
    assert run(ward, worker, "video_a") is State.FAILED
    assert ward.job().failure.code is FailureCode.INTERNAL
    assert rungs(ward) == []


def test_a_cancel_is_heard_while_a_rung_is_tried(ward: Any) -> None:
    worker = ward.worker()

    def cancel_on_the_rung() -> None:
        until(ward, PARKED)()
        ward.store.cancel("default", "video_a")
        worker.leases.beat(lambda held: ward.store.beat("w1", held, 2.0))

    ward.renderer.at = {("image_to_video", 2): cancel_on_the_rung}
    assert run(ward, worker, "video_a") is State.CANCELLED
    assert ward.renderer.closed == 1


def test_log_and_metrics_name_the_rung(ward: Any) -> None:
    worker = ward.worker()
    ward.renderer.at = {("image_to_video", 2): until(ward, PARKED)}
    run(ward, worker, "video_a")
    metrics = WorkerMetrics()
    with structlog.testing.capture_logs() as lines:
        book = Logbook(structlog.get_logger())
        for event in ward.told:
            metrics.tell(event)
            book.tell(event)
    text = generate_latest(metrics.registry).decode()
    assert 'memory_rungs_total{outcome="tried",rung="park_idle"} 1.0' in text
    assert 'memory_rungs_total{outcome="helped",rung="park_idle"} 1.0' in text
    assert "microcinema_worker_memory_rung 3.0" in text
    told = {line["event"]: line for line in lines}
    assert told["memory_rung_climbed"]["log_level"] == "warning"
    assert told["memory_rung_climbed"]["stage"] == "image_to_video"
    assert told["memory_rung_helped"]["job_id"] == "video_a"
