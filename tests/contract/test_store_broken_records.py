"""A record that somebody has spoiled by hand stands still, visibly, and keeps no other from its turn."""

import json

import pytest

from service.contracts.failure import FailureCode
from service.contracts.lifecycle import State
from service.store.errors import UnreadableRecord
from service.store.nouns import Beat, Cancelled, Note, Stage, Succeeded

LEASE = 15.0
#: A field, what somebody writes into it (None: takes it away), and what is said of it.
SPOILED = [
    ("tries", "no JSON", "tries"),
    ("tries", "3", "tries"),
    ("tries", "[1]", "tries"),
    ("lost", "many", "lost"),
    ("lost", None, "lost"),
    ("attempt", "one", "attempt"),
    ("attempt", None, "attempt"),
    ("seq", "1.5", "seq"),
    ("rank", "first", "rank"),
    ("retention_s", None, "retention_s"),
    ("progress", "nan", "progress"),
    ("request", "{", "request"),
    ("request", "[]", "request"),
    ("failure", "7", "failure"),
    ("reserved", "some", "reserved"),
    ("charged", "x", "charged"),
    ("tenant", None, "tenant"),
    ("pool", None, "pool"),
    ("model", "", "model"),
    ("state", "runing", "state"),
    ("state", "succeeded", "expires_at"),
    ("state", None, "state"),
    ("id", "video_b", "id"),
    ("id", None, "id"),
]
every_way = pytest.mark.parametrize(("field", "value", "named"), SPOILED)


def spoil(scene, job_id, field, value):
    """Returns what mends it."""
    key = f"{{mc}}:job:{job_id}"
    whole = scene.redis.hget(key, field)
    if value is None:
        scene.redis.hdel(key, field)
    else:
        scene.redis.hset(key, field, value)
    return lambda: scene.redis.hset(key, field, whole)


def aside(scene):
    scene.clock.advance(1)
    return scene.reap().aside


@every_way
def test_a_broken_job_under_a_dead_worker_is_set_aside_and_the_others_are_reaped(scene, field, value, named):
    for job_id in ("video_a", "video_b", "video_c"):
        scene.submit(job_id)
    assert scene.claimed_ids(limit=3) == ["video_a", "video_b", "video_c"]
    spoil(scene, "video_a", field, value)
    scene.let_lease_run_out()
    assert [scene.jobs.record(job_id).state for job_id in ("video_b", "video_c")] == [State.QUEUED] * 2
    assert scene.redis.zcard("{mc}:leases") == 0
    told = aside(scene)
    assert set(told) == {"video_a"}
    assert named in told["video_a"]
    assert scene.jobs.snapshot().aside == 1


@every_way
def test_a_broken_job_at_the_head_of_the_queue_is_set_aside_and_the_next_one_claimed(
    scene, field, value, named
):
    scene.submit("video_a")
    scene.submit("video_b")
    spoil(scene, "video_a", field, value)
    assert scene.claimed_ids() == ["video_b"]
    assert named in aside(scene)["video_a"]
    assert scene.redis.exists("{mc}:ready:default:micro", "{mc}:queue:default:micro:default") == 0
    assert scene.redis.zcard("{mc}:tenants:default") == 0


@every_way
def test_broken_jobs_whose_time_has_passed_let_the_others_expire(scene, field, value, named):
    for job_id in ("video_a", "video_b"):
        scene.running(job_id)
        assert scene.jobs.hold(job_id, 1, 10, {})
    spoil(scene, "video_a", field, value)
    for _ in range(3):
        scene.clock.advance(5)
        scene.reap()
    assert scene.jobs.record("video_b").state is State.EXPIRED
    assert named in aside(scene)["video_a"]
    assert scene.redis.zcard("{mc}:approvals") == 0


def test_a_broken_batch_mate_is_left_out(scene):
    for job_id in ("video_a", "video_b", "video_c"):
        scene.submit(job_id)
    spoil(scene, "video_b", "lost", "x")
    assert scene.claimed_ids(limit=3) == ["video_a", "video_c"]
    assert set(aside(scene)) == {"video_b"}


def test_a_mended_job_that_waited_waits_again(scene):
    scene.submit("video_a")
    mend = spoil(scene, "video_a", "tries", "?")
    assert scene.claimed_ids() == []
    assert set(aside(scene)) == {"video_a"}
    mend()
    assert aside(scene) == {}
    assert scene.claimed_ids() == ["video_a"]


@pytest.mark.parametrize("field", ["tries", "attempt", "state", "worker"])
def test_a_mended_job_that_ran_waits_again_and_no_loss_is_counted(scene, field):
    scene.jobs.store.redis.hset("{mc}:caps", "default", 1)
    scene.running("video_a")
    mend = spoil(scene, "video_a", field, "" if field == "worker" else "?")
    for _ in range(4):
        scene.clock.advance(5)
        scene.reap()
    assert set(aside(scene)) == {"video_a"}
    scene.submit("video_b")
    assert scene.claimed_ids("w2") == ["video_b"]  # what is set aside takes no place under a cap
    mend()
    assert aside(scene) == {}
    job = scene.jobs.record("video_a")
    assert (job.state, job.lost, job.tries[-1].reason) == (State.QUEUED, 0, "mended")
    assert scene.jobs.finish("video_b", 1, Cancelled()).accepted
    assert scene.redis.hlen("{mc}:running") == 0
    assert scene.claimed_ids("w2") == ["video_a"]


def test_a_mended_job_that_awaited_approval_or_its_purge_does_so_again(scene):
    scene.running("video_a")
    assert scene.jobs.hold("video_a", 1, 100, {})
    scene.running("video_b", retention_s=5.0)
    scene.jobs.finish("video_b", 1, Cancelled())
    mends = [spoil(scene, job_id, "seq", "x") for job_id in ("video_a", "video_b")]
    scene.redis.zadd("{mc}:approvals", {"video_a": 0})  # so that the sweep looks at it
    scene.clock.advance(6)
    assert scene.jobs.doomed() == ()
    assert set(aside(scene)) == {"video_a", "video_b"}
    for mend in mends:
        mend()
    assert aside(scene) == {}
    assert scene.redis.zrange("{mc}:approvals", 0, -1) == [b"video_a"]
    assert [job.id for job in scene.jobs.doomed()] == ["video_b"]
    assert scene.jobs.purge("video_b")


def test_a_broken_job_that_is_deleted_by_hand_is_forgotten(scene):
    scene.submit("video_a")
    spoil(scene, "video_a", "lost", "x")
    assert scene.claimed_ids() == []
    assert set(aside(scene)) == {"video_a"}
    scene.redis.delete("{mc}:job:video_a")
    assert aside(scene) == {}


def test_something_else_in_the_place_of_a_record_is_no_record(scene):
    scene.submit("video_a")
    scene.submit("video_b")
    scene.redis.set("{mc}:job:video_a", "a string")
    assert scene.claimed_ids() == ["video_b"]
    assert [job.id for job in scene.jobs.list_jobs("default").jobs] == ["video_b"]


def test_whatever_nobody_has_foreseen_stops_its_own_job_alone(scene):
    for job_id in ("video_a", "video_b"):
        scene.submit(job_id)
    assert scene.claimed_ids(limit=2) == ["video_a", "video_b"]
    scene.redis.delete("{mc}:events:video_a")
    scene.redis.set("{mc}:events:video_a", "no stream")
    scene.let_lease_run_out()
    assert scene.jobs.record("video_b").state is State.QUEUED
    assert "wrong kind of value" in aside(scene)["video_a"]
    for _ in range(14):
        scene.clock.advance(5)
        scene.reap()
    assert scene.claimed_ids("w2") == ["video_b"]  # video_a was tried once more, in vain
    assert set(aside(scene)) == {"video_a"}
    scene.redis.delete("{mc}:events:video_a")
    for _ in range(14):
        scene.clock.advance(5)
        scene.reap()
    assert aside(scene) == {}
    assert {job for n in (3, 4) for job in scene.claimed_ids(f"w{n}")} == {"video_a", "video_b"}


def test_the_worker_of_a_broken_job_hears_that_it_lost_it(scene, make_artifact):
    scene.submit("video_a")
    scene.submit("video_b")
    assert scene.claimed_ids(limit=2) == ["video_a", "video_b"]
    spoil(scene, "video_a", "tries", "?")
    assert not scene.jobs.note("video_a", 1, Note(Stage.IMAGE_TO_VIDEO, 1, 4, 10))
    held = [("video_a", 1), ("video_b", 1)]
    assert scene.jobs.beat("w1", held, LEASE) == {"video_a": Beat.LOST, "video_b": Beat.OK}
    assert not scene.jobs.release("video_a", 1, "drain")
    done = scene.jobs.finish("video_a", 1, Succeeded(make_artifact("default/video_a/1/video.mp4")))
    assert (done.accepted, done.winner_attempt, done.state) == (False, 0, None)  # it may delete nothing
    assert scene.claim(known=[("video_b", 1)]) == ()


def test_a_job_that_only_the_worker_cannot_read_fails_and_frees_its_owner(scene):
    scene.submit("video_a")
    scene.submit("video_b")
    spoil(scene, "video_a", "request", json.dumps({"no": "prompt"}))
    assert [claim.job.id for claim in scene.claim(limit=2)] == ["video_b"]
    with pytest.raises(UnreadableRecord, match="video_a"):
        scene.jobs.record("video_a")
    stands = scene.redis.hmget("{mc}:job:video_a", "state", "failure")
    assert stands[0] == b"failed"
    assert json.loads(stands[1])["code"] == FailureCode.INTERNAL
    assert scene.types("video_a")[-1] == "video.failed"
    assert [job.id for job in scene.jobs.list_jobs("default").jobs] == ["video_b"]


@pytest.mark.parametrize("value", ["inf", "nan", "1e308", "-1"])
def test_a_job_that_ends_at_no_date_takes_no_list_with_it(scene, value):
    for job_id in ("video_a", "video_b"):
        scene.submit(job_id)
        scene.jobs.cancel("default", job_id)
    mend = spoil(scene, "video_a", "expires_at", value)
    with pytest.raises(UnreadableRecord, match="video_a"):
        scene.jobs.record("video_a")
    assert [job.id for job in scene.jobs.list_jobs("default").jobs] == ["video_b"]
    mend()
    assert len(scene.jobs.list_jobs("default").jobs) == 2


def test_a_spoiled_weight_or_cap_or_spec_does_not_stop_its_pool(scene):
    scene.redis.hset("{mc}:weights", "default", "heavy")
    scene.redis.hset("{mc}:caps", "default", "few")
    scene.submit("video_a")
    assert scene.claimed_ids() == ["video_a"]
    scene.redis.hset("{mc}:catalogue", "spoiled", "{")
    assert "spoiled" not in scene.jobs.catalogue()


def test_a_spoiled_time_of_the_last_sweep_is_no_more_than_a_gap(scene):
    scene.running("video_a")
    scene.redis.set("{mc}:reaper", "yesterday")
    assert scene.reap().extended
    scene.let_lease_run_out()
    assert scene.jobs.record("video_a").lost == 1
