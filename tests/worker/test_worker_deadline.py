"""A job's own finish_by, while a worker has the job in its hands."""

import time
from typing import Any

import pytest

from service.contracts.deadline import Deadline
from service.contracts.failure import FailureCode
from service.contracts.lifecycle import State

SOON = Deadline(3.0, relative=True)
PAST_IT_S = 3.1
LEASE_S = 30.0  # nothing beats here


@pytest.mark.parametrize("moment", [("text_to_image", 2), ("image_to_video", 3), ("decode", 2)])
def test_a_running_attempt_stops_within_one_step_of_finish_by(ward: Any, moment: tuple[str, int]) -> None:
    worker, after = ward.worker(lease_s=LEASE_S), []
    stage, step = moment
    ward.renderer.at = {moment: lambda: time.sleep(PAST_IT_S), (stage, step + 1): lambda: after.append(stage)}
    ward.submit(finish_by=SOON)
    worker.engine.run_ticket()
    job = ward.job()
    assert after == []
    assert (job.state, job.failure.code, job.winner_attempt) == (State.EXPIRED, FailureCode.EXPIRED, 1)
    assert ward.outcomes() == [("video_a", 1, "expired", "")]
    assert not any(key.endswith(".mp4") for key in ward.objects())
    types = [event.type for event in ward.store.events("default", "video_a")]
    assert types.count("video.failed") == 1
    ward.submit("video_b")
    worker.engine.run_ticket()
    assert ward.job("video_b").state is State.SUCCEEDED


def test_the_others_of_a_batch_go_on(ward: Any) -> None:
    worker = ward.worker(max_batch=2, lease_s=LEASE_S)
    # Both must come as far as the third step before the time is up, on a busy machine too.
    ward.renderer.at = {("image_to_video", 3): lambda: time.sleep(6.1)}
    ward.submit("video_a", finish_by=Deadline(6.0, relative=True))
    ward.submit("video_b")
    worker.engine.run_ticket()
    assert len(ward.renderer.animated[0]) == 2
    assert [ward.job(name).state for name in ("video_a", "video_b")] == [State.EXPIRED, State.SUCCEEDED]


def test_the_sweep_may_be_quicker_and_the_worker_takes_back_what_it_stored(ward: Any) -> None:
    worker = ward.worker(lease_s=LEASE_S)

    def too_late() -> None:
        time.sleep(PAST_IT_S)
        ward.store.reap(2.0, every_s=0)
        assert ward.store.reap(2.0, every_s=0).expired in (("video_a",), ())

    ward.renderer.at = {("text_to_image", 3): too_late}
    ward.submit(finish_by=SOON)
    worker.engine.run_ticket()
    assert (ward.job().state, ward.job().winner_attempt) == (State.EXPIRED, 0)
    assert ward.outcomes() == [("video_a", 1, "expired", "")]
    assert ward.objects() == []


def test_a_finish_that_is_committed_first_wins(ward: Any) -> None:
    worker = ward.worker()
    ward.submit(finish_by=Deadline(60.0, relative=True))
    worker.engine.run_ticket()
    assert ward.job().state is State.SUCCEEDED
    assert ward.connect().zcard("{mc}:deadlines") == 0
