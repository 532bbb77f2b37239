"""Nothing is forgotten before its time, and everything is after it."""

import pytest

from service.contracts.deadline import Deadline
from service.contracts.lifecycle import State
from service.contracts.remains import Remains
from service.store.commands import UNREADABLE
from service.store.nouns import Gone, Succeeded


def finish(scene, make_artifact, job_id: str, **fields) -> None:
    scene.running(job_id, **fields)
    scene.jobs.finish(job_id, 1, Succeeded(make_artifact(f"default/{job_id}/1/video.mp4")))


def test_an_ended_job_is_doomed_when_its_retention_is_over(scene, make_artifact):
    finish(scene, make_artifact, "video_a", retention_s=100)
    scene.clock.advance(99)
    assert scene.jobs.doomed() == ()
    assert not scene.jobs.purge("video_a")
    scene.clock.advance(1)
    assert [job.id for job in scene.jobs.doomed()] == ["video_a"]
    assert scene.jobs.purge("video_a")
    assert not scene.jobs.purge("video_a")
    assert scene.jobs.record("video_a") is None
    assert scene.jobs.list_jobs("default").jobs == ()
    assert scene.jobs.snapshot().states[State.SUCCEEDED] == 0


def test_jobs_that_have_not_ended_are_never_doomed(scene):
    scene.submit("video_queued", retention_s=1)
    scene.running("video_running", retention_s=1, priority=1)
    scene.clock.advance(10_000)
    assert scene.jobs.doomed() == ()
    assert not scene.jobs.purge("video_queued")
    assert not scene.jobs.purge("video_running")


def test_a_deleted_job_is_doomed_once_it_has_ended(scene, make_artifact):
    finish(scene, make_artifact, "video_done")
    scene.running("video_running")
    for job_id in ("video_done", "video_running"):
        scene.jobs.delete("default", job_id)
    assert [job.id for job in scene.jobs.doomed()] == ["video_done"]
    assert not scene.jobs.purge("video_running")
    scene.let_lease_run_out()
    assert {job.id for job in scene.jobs.doomed()} == {"video_done", "video_running"}
    assert scene.jobs.purge("video_running")


def test_the_longest_overdue_come_first_and_no_more_than_asked(scene, make_artifact):
    for n, retention_s in enumerate((30, 10, 20)):
        finish(scene, make_artifact, f"video_{n}", retention_s=retention_s)
    scene.clock.advance(50)
    assert [job.id for job in scene.jobs.doomed(limit=2)] == ["video_1", "video_2"]


def test_purging_leaves_a_reused_idempotency_key_to_its_new_owner(scene, make_artifact):
    finish(scene, make_artifact, "video_a", idempotency_key="k", retention_s=10)
    (key,) = scene.redis.keys("{mc}:idempotency:*")
    scene.redis.delete(key)  # as if it had run out before the janitor came
    scene.submit("video_b", idempotency_key="k")
    scene.clock.advance(10)
    assert scene.jobs.purge("video_a")
    assert scene.redis.hget(key, "job") == b"video_b"


def test_a_purged_job_leaves_nothing_behind(scene, make_artifact):
    finish(scene, make_artifact, "video_a", idempotency_key="k", webhook_url=None)
    scene.jobs.delete("default", "video_a")
    assert scene.jobs.purge("video_a")
    left = {key.decode() for key in scene.redis.keys("*video_a*")}
    assert left == {"{mc}:place:default:video_a"}  # a number, so that a listing can go on from it
    assert 3500 < scene.redis.ttl(left.pop()) <= 3600
    named = [key for key in scene.redis.keys("{mc}:*") if scene.redis.type(key) == b"zset"]
    assert all(b"video_a" not in b"".join(scene.redis.zrange(key, 0, -1)) for key in named)


def test_who_asks_for_what_is_over_learns_that_it_was_there(scene, make_artifact):
    created_at = scene.clock.now
    finish(scene, make_artifact, "video_a", retention_s=10)
    finish(scene, make_artifact, "video_b", retention_s=10)
    ended_at = scene.jobs.get("default", "video_a").completed_at
    assert scene.jobs.gone("default", "video_a") is None
    scene.jobs.delete("default", "video_b")
    scene.clock.advance(10)
    assert scene.jobs.purge("video_a")
    assert scene.jobs.purge("video_b")
    assert scene.jobs.gone("default", "video_a") == Gone(
        Remains(
            state=State.SUCCEEDED,
            model="micro",
            created_at=created_at,
            completed_at=ended_at,
            expired_at=ended_at + 10,
        )
    )
    assert scene.jobs.gone("default", "video_b") is None  # its owner deleted it, and wants no trace
    assert scene.jobs.gone("another", "video_a") is None
    assert scene.jobs.gone("", "video_a") == Gone()  # whoever asks with a signed link
    assert scene.jobs.gone("", "video_b") is None
    assert 0 < scene.redis.ttl("{mc}:gone:default:video_a") <= 30 * 86400


def _cancelled(scene):
    scene.submit("video_a", retention_s=10)
    scene.jobs.cancel("default", "video_a")


def _expired(scene):
    scene.submit("video_a", retention_s=10, start_by=Deadline(1.0, relative=True))
    scene.clock.advance(2)
    scene.reap()


def _failed(scene):
    scene.running("video_a", retention_s=10)
    scene.jobs.finish("video_a", 1, UNREADABLE)


@pytest.mark.parametrize(
    ("end", "state"),
    [(_cancelled, State.CANCELLED), (_expired, State.EXPIRED), (_failed, State.FAILED)],
)
def test_what_remains_says_of_every_end_which_it_was(scene, end, state):
    end(scene)
    ended_at = scene.jobs.get("default", "video_a").completed_at
    scene.clock.advance(10)
    assert scene.jobs.purge("video_a")
    remains = scene.jobs.gone("default", "video_a").remains
    assert (remains.state, remains.completed_at, remains.expired_at) == (state, ended_at, ended_at + 10)


def test_of_the_prompt_and_all_that_the_owner_wrote_nothing_remains(scene, make_artifact):
    finish(scene, make_artifact, "video_a", prompt="a secret", metadata={"order": "4711"}, retention_s=10)
    scene.clock.advance(10)
    scene.jobs.purge("video_a")
    left = b"".join(scene.redis.get(key) or b"" for key in scene.redis.keys("*video_a*"))
    assert b"succeeded" in left
    assert b"secret" not in left
    assert b"4711" not in left


@pytest.mark.parametrize("kept", ["", "{", '{"state":"melted"}'])
def test_what_an_older_version_kept_or_a_hand_has_changed_is_gone_all_the_same(scene, kept):
    scene.redis.set("{mc}:gone:default:video_a", kept)
    assert scene.jobs.gone("default", "video_a") == Gone()
