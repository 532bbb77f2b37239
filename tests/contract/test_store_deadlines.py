"""A job that came too late for its owner expires: once, by the record's clock, whoever sees it first."""

import json

import pytest

from service.contracts.deadline import Deadline
from service.contracts.failure import FailureCode
from service.contracts.lifecycle import State
from service.store.nouns import Beat, CancelOutcome, Finished, Succeeded

IN_TEN = Deadline(10.0, relative=True)


def state(scene, job_id: str = "video_a") -> State:
    return scene.jobs.get("default", job_id).state


def pass_time(scene, seconds: float) -> list[str]:
    """As in service: a reap every few seconds. Answers what expired."""
    expired: list[str] = []
    while seconds > 0:
        scene.clock.advance(min(5.0, seconds))
        seconds -= 5.0
        expired += scene.reap().expired
    return expired


def test_a_delay_counts_from_the_acceptance_by_the_servers_clock(scene):
    scene.submit("video_a", start_by=IN_TEN, finish_by=Deadline(scene.clock.now + 60, relative=False))
    job = scene.jobs.get("default", "video_a")
    assert (job.start_by, job.finish_by) == (scene.clock.now + 10, scene.clock.now + 60)


def test_a_job_that_nobody_began_expires_at_the_next_reap(scene):
    scene.submit("video_a", start_by=IN_TEN)
    assert pass_time(scene, 9.9) == []
    assert pass_time(scene, 1.0) == ["video_a"]
    job = scene.jobs.get("default", "video_a")
    assert (job.state, job.failure.code, job.failure.retryable) == (State.EXPIRED, FailureCode.EXPIRED, True)
    assert "start_by" in job.failure.message
    assert scene.types("video_a") == ["video.queued", "video.failed"]
    assert scene.outbox() == [("video_a", "video.failed")]
    ((_, fields),) = scene.redis.xrange("{mc}:outbox")
    assert json.loads(fields[b"data"])["error"]["code"] == "expired"
    assert pass_time(scene, 20) == []


def test_a_claim_that_sees_it_first_expires_it_and_takes_the_next(scene):
    for n in range(3):
        scene.submit(f"video_{n}", start_by=IN_TEN)
    scene.submit("video_later")
    scene.clock.advance(10)
    assert scene.claimed_ids("w1", limit=4) == ["video_later"]
    assert [state(scene, f"video_{n}") for n in range(3)] == [State.EXPIRED] * 3
    assert scene.redis.zcard("{mc}:deadlines") == 0


def test_batch_mates_that_are_overdue_are_left_out(scene):
    scene.submit("video_first", priority=1)
    scene.submit("video_late", start_by=IN_TEN)
    scene.submit("video_mate")
    scene.clock.advance(10)
    assert scene.claimed_ids("w1", limit=4) == ["video_first", "video_mate"]
    assert state(scene, "video_late") is State.QUEUED
    scene.reap()
    assert pass_time(scene, 1) == ["video_late"]


def test_a_flood_of_passed_deadlines_never_lets_an_overdue_job_run(scene):
    for n in range(250):
        scene.submit(f"video_{n:03}", start_by=IN_TEN, queue_limit=1000)
    scene.clock.advance(10)
    assert scene.claim("w1") == ()
    assert scene.jobs.snapshot().states[State.EXPIRED] == 200
    assert scene.claim("w1") == ()
    assert scene.jobs.snapshot().states[State.EXPIRED] == 250


def test_start_by_is_over_once_an_attempt_has_begun(scene):
    scene.running("video_a", start_by=IN_TEN)
    assert scene.jobs.release("video_a", 1, "drain")
    assert pass_time(scene, 30) == []
    assert scene.claimed_ids("w2") == ["video_a"]


def test_a_claim_says_how_long_there_is(scene):
    scene.submit("video_a", finish_by=IN_TEN)
    scene.clock.advance(4)
    (claim,) = scene.claim()
    assert claim.finish_in_s == pytest.approx(6)
    scene.clock.advance(1)
    (again,) = scene.claim()  # the first answer was lost on the way
    assert again.finish_in_s == pytest.approx(5)


def test_a_running_job_expires_too_and_its_worker_is_told_to_stop(scene, make_artifact):
    scene.running("video_a", finish_by=IN_TEN)
    assert pass_time(scene, 5) == []
    assert scene.jobs.beat("w1", [("video_a", 1)], 15) == {"video_a": Beat.OK}
    assert pass_time(scene, 5) == ["video_a"]
    job = scene.jobs.get("default", "video_a")
    assert (job.state, job.winner_attempt) == (State.EXPIRED, 0)
    assert "finish_by" in job.failure.message
    assert scene.jobs.beat("w1", [("video_a", 1)], 15) == {"video_a": Beat.LOST}
    late = Succeeded(make_artifact("default/video_a/1/video.mp4"))
    assert scene.jobs.finish("video_a", 1, late) == Finished(False, 0, State.EXPIRED)
    assert scene.types("video_a").count("video.failed") == 1


def test_a_finish_that_was_committed_first_wins(scene, make_artifact):
    scene.running("video_a", finish_by=IN_TEN)
    scene.clock.advance(11)
    assert scene.jobs.finish("video_a", 1, Succeeded(make_artifact("default/video_a/1/video.mp4"))).accepted
    assert pass_time(scene, 20) == []
    assert state(scene) is State.SUCCEEDED


def test_a_cancel_wins_over_the_deadline(scene):
    scene.running("video_a", finish_by=IN_TEN)
    assert scene.jobs.cancel("default", "video_a") is CancelOutcome.FLAGGED
    pass_time(scene, 11)
    assert state(scene) is State.CANCELLED


def test_finish_by_counts_while_a_keyframe_waits_for_approval(scene):
    scene.running("video_a", finish_by=IN_TEN)
    assert scene.jobs.hold("video_a", 1, 600, {})
    assert pass_time(scene, 11) == ["video_a"]
    assert state(scene) is State.EXPIRED
    assert scene.redis.zcard("{mc}:approvals") == 0


def test_a_jump_of_the_clock_expires_nobody_before_the_next_reap(scene):
    scene.submit("video_a", start_by=IN_TEN)
    scene.clock.advance(3600)
    reaped = scene.reap()
    assert (reaped.extended, reaped.expired) == (True, ())
    scene.clock.set(scene.clock.now - 3600)
    assert scene.claimed_ids("w1") == ["video_a"]
