"""What the last event of a video says of it, on its stream and by webhook alike."""

import json

import pytest
from rig.receipts import receipt_of, verdict_of

from service.contracts.receipt import Reproduction, Verdict
from service.contracts.request import Original
from service.store.nouns import Succeeded

DIGEST = "f" * 64


@pytest.fixture
def original(make_submission):
    receipt = receipt_of(make_submission("video_0").request)
    return Original(video_id="video_0", key="default/video_0/1/video.mp4", receipt=receipt)


@pytest.fixture
def told(scene, make_artifact):
    """Ends video_a, a repetition or not, with a film; what the world is told of that."""

    def end(reproduces=None, **film):
        scene.running("video_a", reproduces=reproduces)
        artifact = make_artifact("default/video_a/1/video.mp4").model_copy(update=film)
        assert scene.jobs.finish("video_a", 1, Succeeded(artifact)).accepted
        on_the_stream = scene.jobs.events("default", "video_a")[-1].data
        ((_, entry),) = scene.redis.xrevrange("{mc}:outbox", count=1)
        assert json.loads(entry[b"data"]) == on_the_stream
        return on_the_stream

    return end


def test_a_video_is_told_with_the_digest_of_its_frames_and_nothing_private(told, original):
    end = told(frame_digest=DIGEST, receipt=original.receipt)
    assert end["frame_digest"] == DIGEST
    assert set(end) == {"id", "state", "status", "attempt", "progress", "frame_digest"}


def test_a_film_without_a_digest_is_told_without_one(told):
    assert "frame_digest" not in told()


def test_an_equal_repetition_is_told_in_one_word(told, original):
    end = told(original, frame_digest=DIGEST, reproduction=verdict_of(original, original.receipt))
    assert (end["reproduces_video_id"], end["reproduction"]) == ("video_0", {"verdict": "equal"})


def test_an_unequal_one_is_told_with_all_that_its_job_shows(told, original):
    verdict = Reproduction(
        verdict=Verdict.INCOMPARABLE,
        psnr_db=71.25,
        changed=("weight_hash", "versions.torch"),
        reason='weight_hash was a and is "b"',
    )
    end = told(original, frame_digest="0" * 64, reproduction=verdict)
    assert end["frame_digest"] == "0" * 64
    assert Reproduction.model_validate(end["reproduction"]) == verdict


def test_a_repetition_that_an_older_worker_ended_without_a_verdict_is_told_without_one(told, original):
    assert {"reproduction", "reproduces_video_id"}.isdisjoint(told(original, frame_digest=DIGEST))


def test_no_other_end_and_no_other_event_speaks_of_frames(scene):
    scene.running("video_a")
    scene.jobs.cancel("default", "video_a")
    scene.let_lease_run_out()
    for event in scene.jobs.events("default", "video_a"):
        assert {"frame_digest", "reproduction"}.isdisjoint(event.data)
