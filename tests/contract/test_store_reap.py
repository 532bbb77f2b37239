"""Workers that fall silent, and silences that are not theirs."""

import pytest
from rig.served_spec import micro_spec

from service.contracts.failure import FailureCode
from service.contracts.lifecycle import State
from service.store.nouns import Beat, Succeeded

LEASE = 15.0


def test_a_silent_workers_job_waits_again_and_says_why(scene):
    scene.running("video_a")
    scene.let_lease_run_out()
    job = scene.jobs.get("default", "video_a")
    assert (job.state, job.attempt, job.lost, job.worker) == (State.QUEUED, 1, 1, None)
    assert scene.jobs.snapshot().pools["default"].losses == 1
    event = scene.jobs.events("default", "video_a")[-1]
    assert (event.type, event.data["reason"]) == ("video.queued", "worker_lost")
    assert scene.jobs.beat("w1", [("video_a", 1)], LEASE) == {"video_a": Beat.LOST}


def test_the_third_lost_worker_ends_the_job(scene):
    scene.submit("video_a")
    for attempt in (1, 2, 3):
        (claim,) = scene.claim(f"w{attempt}")
        assert claim.attempt == attempt
        scene.let_lease_run_out()
    job = scene.jobs.get("default", "video_a")
    assert (job.state, job.lost, job.winner_attempt) == (State.FAILED, 3, 0)
    assert job.failure.code is FailureCode.WORKER_LOST
    assert "3 times" in job.failure.message
    assert scene.types("video_a").count("video.failed") == 1


def test_releases_do_not_count_as_losses_unless_told(scene):
    scene.submit("video_a")
    for attempt in range(1, 6):
        scene.claim("w1")
        scene.jobs.release("video_a", attempt, "drain")
    assert scene.jobs.get("default", "video_a").lost == 0
    for attempt in range(6, 9):
        scene.claim("w1")
        scene.jobs.release("video_a", attempt, "device", counts_as_loss=True)
    assert scene.jobs.get("default", "video_a").failure.code is FailureCode.WORKER_LOST


def test_one_reaper_at_a_time(scene):
    scene.clock.advance(1)
    assert scene.reap().ran
    second = scene.reap()
    assert (second.ran, second.wanted) == (False, {})
    scene.clock.advance(1)
    assert scene.reap().ran


@pytest.mark.parametrize("jump", [LEASE / 2 + 0.1, 3600.0, -3600.0])
def test_after_a_gap_or_a_clock_jump_leases_are_extended_once_instead(scene, jump):
    scene.running("video_a")
    scene.clock.advance(jump)
    reaped = scene.reap()
    assert (reaped.extended, reaped.ids) == (True, ())
    assert scene.redis.zscore("{mc}:leases", "video_a|1") == scene.clock.now + LEASE
    assert scene.jobs.get("default", "video_a").state is State.RUNNING
    scene.let_lease_run_out()
    assert scene.jobs.get("default", "video_a").lost == 1


def test_a_gap_of_less_than_half_a_lease_is_no_gap(scene):
    scene.running("video_a")
    for _ in range(2):
        scene.clock.advance(LEASE / 2 - 0.1)
        assert scene.reap().extended is False
    scene.clock.advance(1)
    assert scene.reap().ids == ("video_a",)


def test_the_tickets_wanted_are_the_least_of_claimable_jobs_and_live_workers(scene):
    scene.submit("video_a")
    scene.submit("video_b")
    scene.submit("video_x", model="absent")
    scene.clock.advance(1)
    assert scene.reap().wanted == {"default": 0}
    scene.jobs.announce("w1", "default", [micro_spec()])
    scene.clock.advance(1)
    assert scene.reap().wanted == {"default": 1}
    for n in range(2, 6):
        scene.jobs.announce(f"w{n}", "default", [micro_spec()])
    scene.jobs.announce("v1", "large", [micro_spec("large")])
    scene.clock.advance(1)
    assert scene.reap().wanted == {"default": 2, "large": 0}


def test_jobs_that_await_approval_are_not_claimable(scene):
    scene.jobs.announce("w1", "default", [micro_spec()])
    scene.running("video_a")
    scene.jobs.hold("video_a", 1, 600, {})
    scene.clock.advance(1)
    assert scene.reap().wanted == {"default": 0}


def test_a_worker_lives_while_it_announces_itself_and_its_models_outlive_it(scene):
    scene.jobs.announce("w1", "large", [micro_spec(), micro_spec("other")], alive_s=10)
    entry = scene.jobs.catalogue()["micro"]
    assert (entry.live_workers, entry.spec.pool) == (1, "large")
    assert entry.spec == micro_spec(pool="large")
    assert scene.jobs.live_workers("large") == 1
    scene.clock.advance(10)
    assert scene.jobs.live_workers("large") == 0
    assert scene.jobs.catalogue()["micro"].live_workers == 0
    scene.reap()
    assert scene.redis.zcard("{mc}:workers:large") == scene.redis.zcard("{mc}:serving:large:micro") == 0


def test_a_worker_that_retires_is_gone_at_once(scene):
    scene.jobs.announce("w1", "default", [micro_spec()])
    scene.jobs.announce("w2", "default", [micro_spec()])
    scene.jobs.retire("w1")
    scene.jobs.retire("w1")
    assert scene.jobs.live_workers("default") == 1
    assert {name: entry.live_workers for name, entry in scene.jobs.catalogue().items()} == {"micro": 1}


def test_the_snapshot_counts_what_there_is(scene, make_artifact):
    scene.jobs.announce("w1", "default", [micro_spec()])
    scene.running("video_a")
    scene.submit("video_b")
    scene.clock.advance(3)
    scene.submit("video_c")
    scene.clock.advance(2)
    snapshot = scene.jobs.snapshot()
    assert {state: count for state, count in snapshot.states.items() if count} == {
        State.QUEUED: 2,
        State.RUNNING: 1,
    }
    pool = snapshot.pools["default"]
    assert (pool.ready, pool.oldest_ready_age_s, pool.live_workers, pool.wanted) == (2, 5.0, 1, 1)
    assert (snapshot.leases, snapshot.doomed, snapshot.outbox) == (1, 0, 1)


def test_the_backlog_is_what_waits_at_the_pace_that_was_measured(scene, make_artifact):
    scene.jobs.announce("w1", "default", [micro_spec()])
    scene.running("video_a")
    scene.clock.advance(4)
    assert scene.jobs.finish("video_a", 1, Succeeded(make_artifact("video.mp4")), gpu_seconds=4.0).accepted
    scene.running("video_b")
    for name in ("video_c", "video_d", "video_e"):
        scene.submit(name)
    pool = scene.jobs.snapshot().pools["default"]
    assert (pool.ready, pool.running) == (3, 1)
    assert pool.backlog_gpu_s == pytest.approx(12.0)


def test_a_video_is_late_by_twice_what_was_foretold_and_half_a_minute(scene, make_artifact):
    scene.jobs.announce("w1", "default", [micro_spec()])
    for name, seconds in (("video_a", 4), ("video_b", 37), ("video_c", 39)):  # 4 s foretold: late beyond 38 s
        scene.jobs.announce("w1", "default", [micro_spec()])
        scene.running(name)
        scene.clock.advance(seconds)
        assert scene.jobs.finish(name, 1, Succeeded(make_artifact("video.mp4")), gpu_seconds=4.0).accepted
    assert scene.jobs.snapshot().promises == {("default", "micro"): (2, 1)}
