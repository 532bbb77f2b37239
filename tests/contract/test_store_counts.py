"""What the record counts of jobs: each once, whoever reports it and however often."""

import pytest
from rig.served_spec import micro_spec

from service.contracts.lifecycle import CANCELLED_AT, Stage, State
from service.store.nouns import Cancelled, CancelOutcome, Note, Succeeded

LEASE = 15.0
TEXT_TO_IMAGE = Note(Stage.TEXT_TO_IMAGE, 1, 4, 10)


def cancels(scene):
    return {place: count for place, count in scene.jobs.snapshot().cancels.items() if count}


def test_every_place_of_a_cancel_is_there_before_the_first(scene):
    assert scene.jobs.snapshot().cancels == dict.fromkeys(CANCELLED_AT, 0)


def test_a_cancel_is_counted_where_the_job_stood(scene):
    scene.submit("video_a")
    scene.jobs.cancel("default", "video_a")
    for name, stage in (("video_b", None), ("video_c", Stage.IMAGE_TO_VIDEO), ("video_d", Stage.UPLOAD)):
        scene.running(name)
        if stage:
            scene.jobs.note(name, 1, Note(stage, 1, 4, 50))
        assert scene.jobs.cancel("default", name) is CancelOutcome.FLAGGED
        assert cancels(scene).get(stage or "claimed", 0) == 0, "asked for is not yet cancelled"
        assert scene.jobs.finish(name, 1, Cancelled()).accepted
    scene.running("video_e")
    scene.jobs.note("video_e", 1, TEXT_TO_IMAGE)
    scene.jobs.hold("video_e", 1, 60.0, {})
    scene.jobs.cancel("default", "video_e")
    assert cancels(scene) == dict.fromkeys(
        ("queued", "claimed", "image_to_video", "upload", "awaiting_approval"), 1
    )


def test_a_cancel_is_counted_once_whoever_reports_it_and_how_often(scene):
    scene.running("video_a")
    scene.jobs.note("video_a", 1, TEXT_TO_IMAGE)
    for _ in range(3):
        assert scene.jobs.cancel("default", "video_a") is CancelOutcome.FLAGGED
    for _ in range(2):  # the worker's first answer was lost
        assert scene.jobs.finish("video_a", 1, Cancelled()).state is State.CANCELLED
    assert scene.jobs.cancel("default", "video_a") is CancelOutcome.CANCELLED
    scene.jobs.delete("default", "video_a")
    assert cancels(scene) == {"text_to_image": 1}


def test_a_cancelled_job_whose_worker_died_counts_where_that_left_it(scene):
    scene.running("video_a")
    scene.jobs.note("video_a", 1, TEXT_TO_IMAGE)
    scene.jobs.cancel("default", "video_a")
    scene.let_lease_run_out()
    assert scene.jobs.get("default", "video_a").state is State.CANCELLED
    assert cancels(scene) == {"text_to_image": 1}


def test_a_cancel_that_came_too_late_is_none(scene, make_artifact):
    scene.running("video_a")
    assert scene.jobs.finish("video_a", 1, Succeeded(make_artifact("video.mp4"))).accepted
    assert scene.jobs.cancel("default", "video_a") is CancelOutcome.TERMINAL
    assert cancels(scene) == {}


def test_a_stage_of_a_newer_version_makes_no_label_of_its_own(scene, redis):
    scene.running("video_a")
    redis.hset("{mc}:job:video_a", "stage", "upscale")
    scene.jobs.cancel("default", "video_a")
    scene.jobs.finish("video_a", 1, Cancelled())
    assert cancels(scene) == {"claimed": 1}


def test_moves_are_counted_by_model_and_outlive_the_record(scene, make_artifact):
    scene.jobs.announce("w1", "default", [micro_spec()])
    scene.running("video_a")
    scene.jobs.release("video_a", 1, "drain")
    (claim,) = scene.jobs.claim("default", "w1", 1, LEASE, ["micro"])
    assert scene.jobs.finish("video_a", claim.attempt, Succeeded(make_artifact("video.mp4"))).accepted
    scene.submit("video_b", model="other")
    scene.clock.advance(86400)
    assert scene.jobs.purge("video_a")
    models = scene.jobs.snapshot().models
    told = {state: count for state, count in models["default", "micro"].moves.items() if count}
    assert told == {State.QUEUED: 2, State.RUNNING: 2, State.SUCCEEDED: 1}
    assert (models["default", "other"].ready, models["default", "other"].moves[State.QUEUED]) == (1, 1)


@pytest.mark.parametrize("state", ["queued", "running"])
def test_living_jobs_are_told_by_model(scene, state):
    scene.submit("video_a") if state == "queued" else scene.running("video_a")
    depth = scene.jobs.snapshot().models["default", "micro"]
    assert (depth.ready, depth.running) == ((1, 0) if state == "queued" else (0, 1))
