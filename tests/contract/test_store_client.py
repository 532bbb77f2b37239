"""What the client may still say once a job is accepted: cancel and delete."""

import pytest

from service.contracts.failure import FailureCode
from service.contracts.lifecycle import State
from service.store.nouns import (
    ApproveOutcome,
    Beat,
    Cancelled,
    CancelOutcome,
    DeleteOutcome,
    Finished,
    Succeeded,
)


@pytest.fixture
def success(make_artifact):
    return Succeeded(make_artifact("default/video_a/1/video.mp4"))


# ---- cancel ----


def test_a_queued_job_is_cancelled_at_once_and_only_once(scene):
    scene.submit("video_a")
    assert scene.jobs.cancel("default", "video_a") is CancelOutcome.CANCELLED
    assert scene.jobs.cancel("default", "video_a") is CancelOutcome.CANCELLED
    job = scene.jobs.get("default", "video_a")
    assert (job.state, job.failure.code) == (State.CANCELLED, FailureCode.CANCELLED)
    assert scene.types("video_a") == ["video.queued", "video.cancelled"]
    assert scene.outbox() == [("video_a", "video.cancelled")]
    assert scene.claim() == ()


def test_cancel_wins_until_finish_commits(scene, success):
    scene.running("video_a")
    assert scene.jobs.cancel("default", "video_a") is CancelOutcome.FLAGGED
    assert scene.jobs.cancel("default", "video_a") is CancelOutcome.FLAGGED
    assert scene.jobs.finish("video_a", 1, success) == Finished(False, 1, State.CANCELLED)
    assert scene.jobs.finish("video_a", 1, success) == Finished(False, 1, State.CANCELLED)
    assert scene.jobs.get("default", "video_a").artifact is None
    assert scene.types("video_a").count("video.cancelled") == 1


def test_a_cancel_that_comes_after_the_finish_changes_nothing(scene, success):
    scene.running("video_a")
    scene.jobs.finish("video_a", 1, success)
    assert scene.jobs.cancel("default", "video_a") is CancelOutcome.TERMINAL
    assert scene.jobs.get("default", "video_a").state is State.SUCCEEDED


def test_a_worker_that_stopped_for_a_cancel_says_so(scene):
    scene.running("video_a")
    scene.jobs.cancel("default", "video_a")
    assert scene.jobs.finish("video_a", 1, Cancelled()) == Finished(True, 1, State.CANCELLED)


def test_releasing_or_reaping_a_called_off_job_ends_it_cancelled(scene):
    scene.running("video_a")
    scene.jobs.cancel("default", "video_a")
    assert scene.jobs.release("video_a", 1, "drain")
    assert scene.jobs.get("default", "video_a").state is State.CANCELLED
    scene.running("video_b")
    scene.jobs.cancel("default", "video_b")
    scene.let_lease_run_out()
    job = scene.jobs.get("default", "video_b")
    assert (job.state, job.failure.code, job.lost) == (State.CANCELLED, FailureCode.CANCELLED, 1)


def test_cancelling_what_is_not_ours_is_missing(scene):
    scene.submit("video_a", tenant="owner")
    assert scene.jobs.cancel("rival", "video_a") is CancelOutcome.MISSING
    assert scene.jobs.cancel("owner", "video_none") is CancelOutcome.MISSING
    assert scene.jobs.get("owner", "video_a").state is State.QUEUED


# ---- delete ----


def test_a_deleted_job_is_hidden_at_once_whatever_it_was_doing(scene, success, make_artifact):
    scene.running("video_running")
    scene.submit("video_queued")
    for job_id in ("video_queued", "video_running"):
        assert scene.jobs.delete("default", job_id) is DeleteOutcome.DELETED
        assert scene.jobs.get("default", job_id) is None
        assert scene.jobs.events("default", job_id) == ()
        assert scene.jobs.delete("default", job_id) is DeleteOutcome.MISSING
        assert scene.jobs.cancel("default", job_id) is CancelOutcome.MISSING
        assert scene.jobs.approve("default", job_id, "0", make_artifact("k")) is ApproveOutcome.MISSING
    assert scene.jobs.list_jobs("default").jobs == ()
    assert scene.jobs.record("video_queued").state is State.CANCELLED
    assert scene.jobs.beat("w1", [("video_running", 1)], 15) == {"video_running": Beat.CANCEL}
    assert scene.jobs.finish("video_running", 1, success).state is State.CANCELLED


def test_a_deleted_job_frees_its_idempotency_key(scene):
    scene.submit("video_a", idempotency_key="k")
    scene.jobs.delete("default", "video_a")
    scene.submit("video_b", idempotency_key="k")
    assert scene.jobs.get("default", "video_b").state is State.QUEUED
