"""Which worker tried a job, from when to when, and why it did not stay with it."""

from service.contracts.lifecycle import State
from service.store.nouns import Succeeded


def test_each_try_is_kept_with_its_worker_its_times_and_its_end(scene, make_artifact):
    scene.running("video_a")
    began = scene.jobs.get("default", "video_a").tries
    assert [(each.number, each.ended_at, each.outcome) for each in began] == [(1, None, None)]
    scene.clock.advance(5)
    scene.jobs.release("video_a", 1, "drain")
    assert scene.claimed_ids() == ["video_a"]
    scene.let_lease_run_out()
    assert scene.claimed_ids() == ["video_a"]
    scene.jobs.finish("video_a", 3, Succeeded(make_artifact("default/video_a/3/video.mp4")))
    tries = scene.jobs.get("default", "video_a").tries
    assert [(each.number, each.outcome, each.reason) for each in tries] == [
        (1, State.QUEUED, "drain"),
        (2, State.QUEUED, "worker_lost"),
        (3, State.SUCCEEDED, None),
    ]
    assert abs(tries[0].ended_at - tries[0].started_at - 5) < 0.01
    assert all(each.worker for each in tries)


def test_a_job_that_travels_for_ever_keeps_its_last_twenty(scene):
    scene.running("video_a")
    for attempt in range(1, 25):
        scene.jobs.release("video_a", attempt, "storage_unavailable")
        assert scene.claimed_ids() == ["video_a"]
    tries = scene.jobs.get("default", "video_a").tries
    assert [each.number for each in tries] == list(range(6, 26))


def test_a_cancelled_try_names_its_reason_and_a_job_that_never_ran_has_none(scene):
    scene.submit("video_b")
    scene.jobs.cancel("default", "video_b")
    assert scene.jobs.get("default", "video_b").tries == ()
    scene.running("video_a")
    scene.jobs.cancel("default", "video_a")
    scene.let_lease_run_out()
    (only,) = scene.jobs.get("default", "video_a").tries
    assert (only.outcome, only.reason) == (State.CANCELLED, "cancelled")
