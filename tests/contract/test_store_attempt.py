"""One attempt's life: beats, notes, the end; and what a cancel, a delete or another attempt does to it."""

import pytest

from service.contracts.artifact import Checkpoint
from service.contracts.failure import Failure, FailureCode
from service.contracts.lifecycle import TERMINAL, Stage, State
from service.store.nouns import (
    Beat,
    Failed,
    Finished,
    Note,
    Succeeded,
)

STEP = Note(Stage.IMAGE_TO_VIDEO, 1, 4, 30)
CRASH = Failed(Failure(code=FailureCode.NON_FINITE, message="The frames are not numbers.", retryable=True))


@pytest.fixture
def success(make_artifact):
    return Succeeded(make_artifact("default/video_a/1/video.mp4"), {"seconds": 1.5})


@pytest.fixture
def second_attempt(scene):
    """video_a: attempt 1 fell silent and was taken for dead, attempt 2 runs on w2."""
    scene.running("video_a")
    scene.let_lease_run_out()
    assert scene.claimed_ids("w2") == ["video_a"]
    return "video_a"


# ---- beat ----


def test_a_beat_renews_and_answers_for_each_job(scene):
    scene.submit("video_a")
    scene.submit("video_b")
    scene.claim("w1", limit=2)
    scene.jobs.cancel("default", "video_b")
    scene.clock.advance(5)
    held = [("video_a", 1), ("video_b", 1), ("video_c", 1)]
    assert scene.jobs.beat("w1", held, 15) == {
        "video_a": Beat.OK,
        "video_b": Beat.CANCEL,
        "video_c": Beat.LOST,
    }
    assert scene.redis.zscore("{mc}:leases", "video_a|1") == scene.clock.now + 15
    assert scene.redis.zscore("{mc}:leases", "video_c|1") is None


def test_a_beat_of_an_earlier_attempt_or_another_worker_is_lost(scene, second_attempt):
    assert scene.jobs.beat("w1", [(second_attempt, 1)], 15) == {second_attempt: Beat.LOST}
    assert scene.jobs.beat("w1", [(second_attempt, 2)], 15) == {second_attempt: Beat.LOST}
    assert scene.jobs.beat("w2", [(second_attempt, 2)], 15) == {second_attempt: Beat.OK}


def test_beats_keep_an_attempt_alive(scene):
    scene.running("video_a")
    for _ in range(20):
        scene.clock.advance(3)
        assert scene.jobs.beat("w1", [("video_a", 1)], 15) == {"video_a": Beat.OK}
        assert scene.reap().ids == ()
    assert scene.jobs.get("default", "video_a").attempt == 1


# ---- note ----


def test_a_note_puts_progress_and_stored_objects_into_the_record(scene, make_artifact):
    scene.running("video_a")
    keyframe = make_artifact("default/video_a/1/keyframe.png")
    checkpoint = Checkpoint(key="default/video_a/1/latents", sha256="b" * 64, step=2)
    assert scene.jobs.note("video_a", 1, Note(Stage.TEXT_TO_IMAGE, 4, 4, 20, keyframe=keyframe))
    assert scene.jobs.note("video_a", 1, Note(Stage.IMAGE_TO_VIDEO, 2, 4, 60, checkpoint=checkpoint))
    job = scene.jobs.get("default", "video_a")
    assert (job.stage, job.step, job.steps, job.progress) == (Stage.IMAGE_TO_VIDEO, 2, 4, 60)
    assert (job.keyframe, job.keyframe_attempt, job.checkpoint) == (keyframe, 1, checkpoint)
    assert job.names(keyframe.key)
    assert job.names(checkpoint.key)
    assert not job.names("default/video_a/1/video.mp4")
    event = scene.jobs.events("default", "video_a")[-1]
    assert (event.type, event.data["stage"], event.data["step"]) == ("video.progress", "image_to_video", 2)


def test_the_same_note_again_is_no_new_event(scene):
    scene.running("video_a")
    assert scene.jobs.note("video_a", 1, STEP)
    assert scene.jobs.note("video_a", 1, STEP)
    assert scene.types("video_a").count("video.progress") == 1


def test_progress_never_runs_backwards_and_reaches_100_only_with_the_video(scene, success):
    scene.running("video_a")
    scene.jobs.note("video_a", 1, Note(Stage.UPLOAD, 1, 1, 100))
    scene.jobs.note("video_a", 1, Note(Stage.TEXT_TO_IMAGE, 1, 4, 5))
    assert scene.jobs.get("default", "video_a").progress == 99
    scene.jobs.finish("video_a", 1, success)
    assert scene.jobs.get("default", "video_a").progress == 100


def test_a_note_of_an_earlier_attempt_changes_nothing(scene, second_attempt, make_artifact):
    before = scene.jobs.get("default", second_attempt)
    stale = Note(Stage.UPLOAD, 1, 1, 99, keyframe=make_artifact("default/video_a/1/keyframe.png"))
    assert not scene.jobs.note(second_attempt, 1, stale)
    assert scene.jobs.get("default", second_attempt) == before


# ---- finish ----


def test_success_names_the_artifact_and_answers_the_same_when_asked_again(scene, success):
    scene.running("video_a")
    scene.clock.advance(4)
    answer = scene.jobs.finish("video_a", 1, success)
    assert answer == Finished(accepted=True, winner_attempt=1, state=State.SUCCEEDED)
    assert scene.jobs.finish("video_a", 1, success) == answer
    job = scene.jobs.get("default", "video_a")
    assert (job.state, job.artifact, job.usage) == (State.SUCCEEDED, success.artifact, {"seconds": 1.5})
    assert (job.completed_at, job.expires_at) == (scene.clock.now, scene.clock.now + 3600)
    assert scene.types("video_a") == ["video.queued", "video.started", "video.completed"]
    assert scene.outbox() == [("video_a", "video.started"), ("video_a", "video.completed")]
    assert scene.redis.zcard("{mc}:leases") == 0


@pytest.mark.parametrize("end", ["success", "crash", "cancel"])
def test_a_job_that_ended_names_its_keyframe_but_no_checkpoint(scene, success, make_artifact, end):
    scene.running("video_a")
    keyframe = make_artifact("default/video_a/1/keyframe.png")
    kept = Checkpoint(key="default/video_a/1/checkpoint", sha256="b" * 64, step=2)
    assert scene.jobs.note("video_a", 1, Note(Stage.IMAGE_TO_VIDEO, 2, 4, 60, keyframe, kept))
    if end == "cancel":
        scene.jobs.cancel("default", "video_a")
    assert scene.jobs.finish("video_a", 1, CRASH if end == "crash" else success).state in TERMINAL
    job = scene.jobs.get("default", "video_a")
    assert (job.keyframe, job.checkpoint) == (keyframe, None)


def test_a_failure_is_kept_with_its_code(scene):
    scene.running("video_a")
    assert scene.jobs.finish("video_a", 1, CRASH) == Finished(True, 1, State.FAILED)
    assert scene.jobs.get("default", "video_a").failure == CRASH.failure
    assert scene.jobs.events("default", "video_a")[-1].data["error"]["code"] == "non_finite"


def test_a_job_without_a_webhook_leaves_the_outbox_alone(scene, success):
    scene.running("video_a", webhook_url=None)
    scene.jobs.finish("video_a", 1, success)
    assert scene.outbox() == []


def test_an_earlier_attempt_cannot_finish_once_a_later_one_runs(scene, second_attempt, success):
    assert scene.jobs.finish(second_attempt, 1, success) == Finished(False, 2, State.RUNNING)
    assert scene.jobs.get("default", second_attempt).artifact is None


def test_an_earlier_attempt_learns_who_won(scene, second_attempt, success, make_artifact):
    winner = Succeeded(make_artifact("default/video_a/2/video.mp4"))
    assert scene.jobs.finish(second_attempt, 2, winner).accepted
    assert scene.jobs.finish(second_attempt, 1, success) == Finished(False, 2, State.SUCCEEDED)
    assert scene.jobs.get("default", second_attempt).artifact == winner.artifact
    assert scene.types(second_attempt).count("video.completed") == 1


def test_nothing_is_decided_while_a_reaped_job_waits(scene, success):
    scene.running("video_a")
    scene.let_lease_run_out()
    assert scene.jobs.finish("video_a", 1, success) == Finished(False, 0, State.QUEUED)


def test_a_lease_that_ran_out_unseen_still_finishes(scene, success):
    scene.running("video_a")
    scene.clock.advance(1000)
    assert scene.jobs.finish("video_a", 1, success).accepted


def test_writes_to_a_job_that_never_was_do_not_make_one(scene, success, make_artifact):
    assert scene.jobs.finish("video_x", 1, success) == Finished(False, 0, None)
    assert not scene.jobs.note("video_x", 1, STEP)
    assert not scene.jobs.release("video_x", 1, "drain")
    assert not scene.jobs.hold("video_x", 1, 60, {})
    assert scene.jobs.beat("w1", [("video_x", 1)], 15) == {"video_x": Beat.LOST}
    assert scene.jobs.record("video_x") is None


# ---- release ----


def test_a_release_puts_the_job_back_without_a_loss(scene):
    scene.running("video_a")
    assert scene.jobs.release("video_a", 1, "drain")
    assert not scene.jobs.release("video_a", 1, "drain")
    job = scene.jobs.get("default", "video_a")
    assert (job.state, job.lost, job.worker, job.stage) == (State.QUEUED, 0, None, None)
    event = scene.jobs.events("default", "video_a")[-1]
    assert (event.type, event.data["reason"]) == ("video.queued", "drain")


@pytest.mark.parametrize("loss", [True, False])
def test_a_checkpoint_outlives_its_attempt_until_a_later_one_names_another(scene, loss):
    scene.running("video_a")
    for attempt, step in ((1, 2), (2, 3)):
        kept = Checkpoint(key=f"default/video_a/{attempt}/checkpoint", sha256="b" * 64, step=step)
        assert scene.jobs.note("video_a", attempt, Note(Stage.IMAGE_TO_VIDEO, step, 4, 60, checkpoint=kept))
        assert scene.jobs.release("video_a", attempt, "drain", counts_as_loss=loss)
        (claim,) = scene.claim(f"w{attempt + 1}")
        assert claim.job.checkpoint == kept


def test_a_second_attempt_is_no_second_start_for_webhooks(scene, success):
    scene.running("video_a")
    scene.jobs.release("video_a", 1, "drain")
    scene.claim("w2")
    assert scene.outbox() == [("video_a", "video.started")]
    assert scene.types("video_a").count("video.started") == 2
