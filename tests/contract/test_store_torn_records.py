"""A record deleted by hand (`redis-cli DEL`) takes its own job away, and keeps no other from its turn."""

import pytest

from service.contracts.deadline import Deadline
from service.contracts.lifecycle import State
from service.store.nouns import Beat, Cancelled

LEASE = 15.0


def tear(scene, job_id):
    assert scene.redis.delete(f"{{mc}}:job:{job_id}") == 1


@pytest.mark.parametrize("other", ["default", "globex"])
def test_a_torn_job_at_the_head_of_the_queue_is_passed(scene, other):
    scene.submit("video_a")
    scene.submit("video_b", tenant=other)
    tear(scene, "video_a")
    assert scene.claimed_ids() == ["video_b"]
    assert scene.redis.zscore("{mc}:ready:default:micro", "video_a") is None
    scene.clock.advance(1)
    assert scene.redis.exists("{mc}:queue:default:micro:default") == 0
    assert scene.reap().ids == ()


def test_a_torn_job_in_the_middle_of_a_batch_is_left_out(scene):
    for job_id in ("video_a", "video_b", "video_c"):
        scene.submit(job_id)
    tear(scene, "video_b")
    assert scene.claimed_ids(limit=3) == ["video_a", "video_c"]


def test_a_torn_job_under_a_worker_is_lost_to_it_and_the_others_are_beaten_for(scene):
    scene.submit("video_a")
    scene.submit("video_b")
    assert scene.claimed_ids(limit=2) == ["video_a", "video_b"]
    tear(scene, "video_a")
    answers = scene.jobs.beat("w1", [("video_a", 1), ("video_b", 1)], LEASE)
    assert answers == {"video_a": Beat.LOST, "video_b": Beat.OK}
    (again,) = scene.claim(known=())
    assert again.job.id == "video_b"


def test_the_sweep_goes_past_torn_leases_and_deadlines(scene):
    scene.submit("video_a")
    scene.submit("video_b")
    scene.submit("video_c", finish_by=Deadline(6.0, relative=True))
    scene.submit("video_d", finish_by=Deadline(6.0, relative=True))
    assert scene.claimed_ids(limit=2) == ["video_a", "video_b"]
    tear(scene, "video_a")
    tear(scene, "video_c")
    scene.let_lease_run_out()
    assert scene.jobs.record("video_b").state is State.QUEUED
    assert scene.jobs.record("video_d").state is State.EXPIRED
    assert scene.redis.zrange("{mc}:leases", 0, -1) == []
    assert scene.redis.zrange("{mc}:deadlines", 0, -1) == []


def test_the_sweep_goes_past_torn_approvals(scene):
    for job_id in ("video_a", "video_b"):
        scene.running(job_id)
        assert scene.jobs.hold(job_id, 1, 10, {})
    tear(scene, "video_a")
    for _ in range(3):
        scene.clock.advance(5)
        scene.reap()
    assert scene.jobs.record("video_b").state is State.EXPIRED


def test_listing_and_janitor_go_past_torn_records(scene):
    for job_id in ("video_a", "video_b"):
        scene.running(job_id, retention_s=60.0)
        scene.jobs.finish(job_id, 1, Cancelled())
    tear(scene, "video_a")
    assert [job.id for job in scene.jobs.list_jobs("default").jobs] == ["video_b"]
    scene.clock.advance(61)
    assert [job.id for job in scene.jobs.doomed(10)] == ["video_b"]
    assert scene.jobs.purge("video_b")
    assert scene.redis.zcard("{mc}:doomed") == 0
