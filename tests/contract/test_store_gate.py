"""A job that waits for its client behind stage 1: hold and approve."""

import pytest
from rig.served_spec import micro_spec

from service.contracts.failure import FailureCode
from service.contracts.lifecycle import Stage, State
from service.store.nouns import ApproveOutcome, CancelOutcome, Note, Succeeded


@pytest.fixture
def success(make_artifact):
    return Succeeded(make_artifact("default/video_a/1/video.mp4"))


@pytest.fixture
def candidates(make_artifact):
    return tuple(make_artifact(f"default/video_a/1/candidate-{n}.png") for n in range(2))


def held(scene, candidates, approval_s=600, gpu_seconds=0.5):
    """video_a waits with two candidates."""
    scene.running("video_a")
    for count in (1, 2):
        note = Note(Stage.TEXT_TO_IMAGE, 4 * count, 8, 10 * count, candidates=candidates[:count])
        assert scene.jobs.note("video_a", 1, note)
    assert scene.jobs.hold("video_a", 1, approval_s, {"gpu_seconds": gpu_seconds})


def test_a_held_job_waits_for_approval_and_goes_on_with_what_was_chosen(scene, candidates):
    held(scene, candidates)
    job = scene.jobs.get("default", "video_a")
    assert (job.state, job.candidates, job.keyframe) == (State.AWAITING_APPROVAL, candidates, None)
    assert (job.approve_by, job.spent) == (scene.clock.now + 600, {"gpu_seconds": 0.5})
    assert all(job.names(candidate.key) for candidate in candidates)
    assert scene.redis.zcard("{mc}:leases") == 0
    assert scene.claim("w2") == ()
    assert scene.outbox()[-1] == ("video_a", "video.keyframe_ready")
    assert scene.jobs.approve("rival", "video_a", "1", candidates[1]) is ApproveOutcome.MISSING
    assert scene.jobs.approve("default", "video_a", "1", candidates[1]) is ApproveOutcome.APPROVED
    assert scene.jobs.approve("default", "video_a", "1", candidates[1]) is ApproveOutcome.AGAIN
    assert scene.jobs.approve("default", "video_a", "0", candidates[0]) is ApproveOutcome.NOT_WAITING
    (claim,) = scene.claim("w2")
    assert (claim.attempt, claim.job.keyframe, claim.job.chosen) == (2, candidates[1], "1")
    assert (claim.job.approve_by, claim.job.spent) == (None, {"gpu_seconds": 0.5})


def test_a_hold_whose_reply_was_lost_answers_the_same_and_no_other_attempt_holds(scene, candidates):
    held(scene, candidates)
    told = len(scene.outbox())
    assert scene.jobs.hold("video_a", 1, 9, {})
    assert not scene.jobs.hold("video_a", 2, 9, {})
    job = scene.jobs.get("default", "video_a")
    assert (job.approve_by, job.spent) == (scene.clock.now + 600, {"gpu_seconds": 0.5})
    assert len(scene.outbox()) == told


def test_an_approval_that_comes_too_late_lets_the_job_expire(scene, candidates):
    held(scene, candidates, approval_s=5)
    scene.clock.advance(5)
    assert scene.jobs.approve("default", "video_a", "0", candidates[0]) is ApproveOutcome.NOT_WAITING
    assert scene.reap().expired == ("video_a",)
    job = scene.jobs.get("default", "video_a")
    assert (job.state, job.failure.code) == (State.EXPIRED, FailureCode.EXPIRED)
    assert scene.outbox()[-1] == ("video_a", "video.failed")


def test_a_held_job_can_be_called_off_before_and_after(scene, candidates):
    held(scene, candidates)
    assert scene.jobs.cancel("default", "video_a") is CancelOutcome.CANCELLED
    assert scene.redis.zcard("{mc}:approvals") == 0
    scene.running("video_b")
    scene.jobs.cancel("default", "video_b")
    assert scene.jobs.hold("video_b", 1, 600, {})
    assert scene.jobs.get("default", "video_b").state is State.CANCELLED


def test_what_a_client_took_to_choose_teaches_no_forecast(scene, candidates, success):
    def ratios():
        return scene.redis.llen("{mc}:eta-ratios:default:micro")

    scene.jobs.announce("w1", "default", [micro_spec()], alive_s=10_000)
    scene.running("video_0")
    scene.jobs.finish("video_0", 1, success, 2.0)  # from now on a video can be foretold
    scene.running("video_1")
    scene.jobs.finish("video_1", 1, success, 2.0)
    assert ratios() == 1
    held(scene, candidates)
    scene.clock.advance(500)
    scene.jobs.approve("default", "video_a", "0", candidates[0])
    (claim,) = scene.claim("w1")
    assert scene.jobs.finish("video_a", claim.attempt, success, 2.0).accepted
    assert ratios() == 1
