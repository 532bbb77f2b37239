"""Several jobs in one run: who leaves, who goes on, and who runs alone afterwards."""

import time
from typing import Any

import pytest

from service.contracts.cost import work_of
from service.contracts.failure import FailureCode
from service.contracts.lifecycle import State
from worker.events import AttemptEnded, BatchClaimed, BatchSplit, DeviceFault, Fault

IDS = ["video_a", "video_b", "video_c"]


def batch(ward: Any, **settings: Any) -> Any:
    for seed, job_id in enumerate(IDS, start=11):
        ward.submit(job_id, seed=seed)
    return ward.worker(max_batch=4, **settings)


def states(ward: Any) -> list[State]:
    return [ward.job(job_id).state for job_id in IDS]


def test_batch_goes_through_each_stage_once_and_each_job_gets_its_own_film(ward: Any) -> None:
    worker = batch(ward)
    worker.engine.run_ticket()
    assert states(ward) == [State.SUCCEEDED] * 3
    assert [len(orders) for orders in ward.renderer.painted] == [3]
    assert [len(orders) for orders in ward.renderer.animated] == [3]
    assert len({ward.job(job_id).artifact.frame_digest for job_id in IDS}) == 3
    assert [int(keyframe.mean()) for keyframe in ward.renderer.keyframes] == [11, 12, 13]


def test_mates_share_the_time_of_the_device_and_the_record_learns_from_it(ward: Any) -> None:
    worker = batch(ward)
    ward.renderer.at = {("image_to_video", step): lambda: time.sleep(0.02) for step in range(1, 7)}
    began = time.monotonic()
    worker.engine.run_ticket()
    elapsed = time.monotonic() - began
    usages = [ward.job(job_id).usage for job_id in IDS]
    assert 0.12 <= sum(usage["gpu_seconds"] for usage in usages) <= elapsed
    pace = float(ward.connect().hget("{mc}:paces", "default:fake"))
    rates = [usage["gpu_seconds"] / work_of(ward.job().request) for usage in usages]
    assert min(rates) - 0.05 <= pace <= max(rates) + 0.05  # usage is rounded


def test_cancelled_job_leaves_the_batch_and_the_others_go_on(ward: Any) -> None:
    worker = batch(ward)

    def cancel() -> None:
        ward.store.cancel("default", "video_b")
        worker.leases.beat(lambda held: ward.store.beat("w1", held, 2.0))

    ward.renderer.at = {("image_to_video", 2): cancel}
    worker.engine.run_ticket()
    assert states(ward) == [State.SUCCEEDED, State.CANCELLED, State.SUCCEEDED]
    assert ward.job("video_b").step <= 1  # no step of it was told after the cancel
    first = ward.heard(AttemptEnded)[0]
    assert (first.job_id, first.outcome) == ("video_b", "cancelled")  # at once, not after the batch


def test_batch_that_everybody_left_stops(ward: Any) -> None:
    worker = batch(ward)

    def cancel() -> None:
        for job_id in IDS:
            ward.store.cancel("default", job_id)
        worker.leases.beat(lambda held: ward.store.beat("w1", held, 2.0))

    went_on = []
    ward.renderer.at = {
        ("image_to_video", 2): cancel,
        ("image_to_video", 3): lambda: went_on.append(1),
    }
    worker.engine.run_ticket()
    assert states(ward) == [State.CANCELLED] * 3
    assert went_on == []
    assert ward.renderer.closed == 1


@pytest.mark.parametrize("message", ["CUDA out of memory", "something unforeseen"])
def test_spoilt_batch_is_run_one_by_one_and_only_the_guilty_fails(ward: Any, message: str) -> None:
    worker = batch(ward)

    def spoil() -> None:
        if any(order.seed == 12 for order in ward.renderer.animated[-1]):
            raise RuntimeError(message)

    ward.renderer.at = {("image_to_video", 3): spoil}
    worker.engine.run_ticket()
    assert states(ward) == [State.QUEUED] * 3
    assert [event.size for event in ward.heard(BatchSplit)] == [3]
    assert ward.tickets.waiting("gpu-default") == 3
    for _ in IDS:
        worker.engine.run_ticket()
    assert states(ward) == [State.SUCCEEDED, State.FAILED, State.SUCCEEDED]
    assert [len(event.job_ids) for event in ward.heard(BatchClaimed)] == [3, 1, 1, 1]
    assert len(ward.renderer.painted) == 1  # the keyframes were durable before the trouble
    assert [ward.job(job_id).lost for job_id in IDS] == [0, 0, 0]
    memory = message.startswith("CUDA")
    expected = FailureCode.OUT_OF_MEMORY if memory else FailureCode.INTERNAL
    assert ward.job("video_b").failure.code is expected
    assert len(ward.heard(Fault)) == (0 if memory else 4)


def test_job_that_fails_at_its_own_film_does_not_touch_its_mates(ward: Any) -> None:
    worker = batch(ward)
    calls = iter(range(100))

    def second_film() -> None:
        if next(calls) == 1:
            raise RuntimeError("this film only")

    ward.renderer.at = {("decode", 1): second_film}
    worker.engine.run_ticket()
    assert states(ward) == [State.SUCCEEDED, State.FAILED, State.SUCCEEDED]


def test_guidance_scales_may_differ_in_one_run_but_not_its_being_there(ward: Any) -> None:
    for job_id, scale in zip(IDS, (3.0, 1.0, 7.0), strict=True):
        ward.submit(job_id, guidance_scale=scale)
    worker = ward.worker(max_batch=4)
    worker.engine.run_ticket()
    worker.engine.run_ticket()
    assert states(ward) == [State.SUCCEEDED] * 3
    assert [[order.guidance_scale for order in orders] for orders in ward.renderer.animated] == [
        [3.0, 7.0],
        [1.0],
    ]


@pytest.mark.parametrize("moment", [("image_to_video", 3), ("decode", 2)])
def test_broken_device_hands_all_back_as_a_loss_and_claims_no_more(ward: Any, moment: Any) -> None:
    worker = batch(ward)
    ward.renderer.at = {moment: ward.raising(RuntimeError("CUDA error: an illegal memory access"))}
    worker.engine.run_ticket()
    assert states(ward) == [State.QUEUED] * 3
    assert [ward.job(job_id).lost for job_id in IDS] == [1, 1, 1]
    assert worker.engine.broken
    assert len(ward.heard(DeviceFault)) == 1
    worker.engine.run_ticket()
    assert [ward.job(job_id).attempt for job_id in IDS] == [1, 1, 1]


def test_job_that_breaks_every_device_is_failed_as_worker_lost(ward: Any) -> None:
    ward.renderer.at = {("image_to_video", 1): ward.raising(RuntimeError("CUDA error: assert"))}
    ward.submit()
    for number in (1, 2, 3):
        ward.worker(f"w{number}").engine.run_ticket()
    assert ward.job().failure.code is FailureCode.WORKER_LOST
