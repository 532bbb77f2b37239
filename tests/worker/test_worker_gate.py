"""Jobs that stop behind stage 1 and show keyframes: what is painted, once, and what goes on from there."""

import hashlib
from typing import Any

import pytest
from rig.down import Down

from service.contracts.artifact import Artifact
from service.contracts.failure import FailureCode
from service.contracts.job import OWN_PICTURE, VideoJob
from service.contracts.keys import candidate_name, chosen_picture_key
from service.contracts.lifecycle import Stage, State
from service.contracts.request import MAX_SEED, KeyframeGate
from service.store.nouns import ApproveOutcome, CancelOutcome, Note
from worker.events import KeyframeLost
from worker.film.keyframe import picture_artifact

PREFIX = "default/video_a/"


class Killed(BaseException):
    """What kill -9 looks like from inside: nothing of the worker's own runs any more."""


def kill() -> None:
    raise Killed


def gated(ward: Any, candidates: int = 3, job_id: str = "video_a", **fields: Any) -> None:
    ward.submit(job_id, gate=KeyframeGate(candidates=candidates, approval_s=600.0), **fields)


def approve(ward: Any, index: int) -> None:
    chosen = ward.job().candidates[index]
    assert ward.store.approve("default", "video_a", str(index), chosen) is ApproveOutcome.APPROVED


def painted_seeds(ward: Any) -> list[int]:
    return [order.seed for orders in ward.renderer.painted for order in orders]


def lose_the_worker(ward: Any) -> None:
    job = ward.job()
    assert ward.store.release(job.id, job.attempt, "test", counts_as_loss=True)


def test_a_gated_job_shows_its_candidates_and_spends_nothing_of_stage_2(ward: Any) -> None:
    gated(ward, seed=9)
    ward.worker().engine.run_ticket()
    job: VideoJob = ward.job()
    assert (job.state, job.keyframe, job.attempt) == (State.AWAITING_APPROVAL, None, 1)
    keys = [PREFIX + "1/" + candidate_name(index) for index in range(3)]
    assert [candidate.key for candidate in job.candidates] == keys == ward.objects()
    for candidate in job.candidates:
        assert hashlib.sha256(ward.body(candidate.key)).hexdigest() == candidate.sha256
    assert painted_seeds(ward) == [9, 10, 11]
    assert len({candidate.sha256 for candidate in job.candidates}) == 3
    assert ward.renderer.animated == []
    assert set(job.spent) == {"text_to_image_seconds", "text_to_image_gpu_seconds", "gpu_seconds"}
    assert ward.outcomes() == [("video_a", 1, "held", "")]


def test_the_chosen_one_is_animated_and_none_is_painted_again(ward: Any) -> None:
    gated(ward, seed=9)
    worker = ward.worker()
    worker.engine.run_ticket()
    spent = ward.job().spent
    approve(ward, 1)
    worker.engine.run_ticket()
    job = ward.job()
    assert (job.state, job.attempt, job.chosen) == (State.SUCCEEDED, 2, "1")
    assert job.keyframe == job.candidates[1]
    assert painted_seeds(ward) == [9, 10, 11]
    assert [int(keyframe.mean()) for keyframe in ward.renderer.keyframes] == [10]
    assert [order.seed for orders in ward.renderer.animated for order in orders] == [9]
    assert job.usage["text_to_image_seconds"] == spent["text_to_image_seconds"]
    assert job.usage["gpu_seconds"] >= spent["gpu_seconds"]


def test_the_first_candidate_makes_the_video_that_there_would_have_been_without_a_gate(ward: Any) -> None:
    gated(ward, candidates=1, seed=9)
    ward.submit("video_b", seed=9)
    worker = ward.worker()
    worker.engine.run_ticket()
    approve(ward, 0)
    worker.engine.run_ticket()
    worker.engine.run_ticket()
    digests = {ward.job(job_id).artifact.frame_digest for job_id in ("video_a", "video_b")}
    assert len(digests) == 1


def test_progress_counts_the_steps_of_all_candidates_and_never_falls(ward: Any) -> None:
    gated(ward, candidates=2)
    ward.worker().engine.run_ticket()
    notes = ward.notes()
    assert [step for _, step, _ in notes] == sorted(step for _, step, _ in notes)
    assert notes[-1] == (Stage.TEXT_TO_IMAGE, 6, 20)
    assert ward.job().steps == 6


def test_a_new_attempt_paints_only_the_candidates_that_are_not_there(ward: Any) -> None:
    gated(ward, seed=9)
    worker = ward.worker("w1", lease_s=60.0)
    painted = 0

    def die_in_the_second() -> None:
        nonlocal painted
        painted += 1
        if painted == 2:
            kill()

    ward.renderer.at = {(Stage.TEXT_TO_IMAGE, 2): die_in_the_second}
    with pytest.raises(Killed):
        worker.engine.run_ticket()
    ward.renderer.at = {}
    lose_the_worker(ward)
    ward.worker("w2").engine.run_ticket()
    job = ward.job()
    assert (job.state, job.lost) == (State.AWAITING_APPROVAL, 1)
    numbers = [candidate.key.removeprefix(PREFIX)[0] for candidate in job.candidates]
    assert numbers == ["1", "2", "2"]
    assert painted_seeds(ward) == [9, 10, 10, 11]  # the second was begun twice, none finished twice


def test_an_attempt_that_finds_all_candidates_only_waits(ward: Any) -> None:
    """Its worker died between the last candidate and the hold."""
    gated(ward, candidates=1)
    (claim,) = ward.store.claim("default", "w1", 1, 60.0, ["fake"])
    picture = ward.own_picture()
    candidate = picture_artifact(PREFIX + "1/candidate-0.png", ward.body(picture.key), 32, 16)
    ward.store.note("video_a", claim.attempt, Note(Stage.TEXT_TO_IMAGE, 3, 3, 20, candidates=(candidate,)))
    lose_the_worker(ward)
    ward.worker("w2").engine.run_ticket()
    job = ward.job()
    assert (job.state, job.candidates) == (State.AWAITING_APPROVAL, (candidate,))
    assert painted_seeds(ward) == []


def test_a_chosen_candidate_that_is_lost_is_painted_again_from_its_own_seed(ward: Any) -> None:
    gated(ward, seed=MAX_SEED)
    worker = ward.worker()
    worker.engine.run_ticket()
    approve(ward, 1)
    ward.storage.delete(ward.job().keyframe.key)
    worker.engine.run_ticket()
    assert ward.job().state is State.SUCCEEDED
    assert painted_seeds(ward) == [MAX_SEED, 0, 1, 0]
    assert len(ward.heard(KeyframeLost)) == 1


def own_picture(ward: Any) -> Artifact:
    stored = ward.own_picture()
    body = ward.body(stored.key)
    key = chosen_picture_key("default", "video_a", stored.sha256)
    ward.storage.put(key, body, "image/png")
    return picture_artifact(key, body, 32, 16)


def test_the_owners_own_picture_may_take_the_candidates_place(ward: Any) -> None:
    gated(ward)
    worker = ward.worker()
    worker.engine.run_ticket()
    own = own_picture(ward)
    ward.store.approve("default", "video_a", OWN_PICTURE + own.sha256, own)
    worker.engine.run_ticket()
    assert ward.job().state is State.SUCCEEDED
    assert ward.renderer.keyframes[0][0, 0].tolist() == [200, 10, 10]


def test_an_own_picture_that_is_lost_fails_the_job_instead_of_becoming_another(ward: Any) -> None:
    gated(ward)
    worker = ward.worker()
    worker.engine.run_ticket()
    own = own_picture(ward)
    ward.store.approve("default", "video_a", OWN_PICTURE + own.sha256, own)
    ward.storage.delete(own.key)
    worker.engine.run_ticket()
    job = ward.job()
    assert (job.state, job.failure.code) == (State.FAILED, FailureCode.INVALID_INPUT)
    assert len(painted_seeds(ward)) == 3


def test_gated_jobs_of_equal_count_are_painted_together(ward: Any) -> None:
    for seed, job_id in enumerate(("video_a", "video_b"), start=30):
        gated(ward, candidates=2, job_id=job_id, seed=seed)
    gated(ward, candidates=1, job_id="video_c")
    ward.worker(max_batch=4).engine.run_ticket()
    assert [[order.seed for order in orders] for orders in ward.renderer.painted] == [[30, 31], [31, 32]]
    states = [ward.job(job_id).state for job_id in ("video_a", "video_b", "video_c")]
    assert states == [State.AWAITING_APPROVAL, State.AWAITING_APPROVAL, State.QUEUED]


def test_a_storage_that_is_away_lets_the_job_wait_and_nothing_is_held_unseen(ward: Any) -> None:
    gated(ward, candidates=1)
    ward.worker("w1", storage=Down(ward.storage)).engine.run_ticket()
    assert ward.job().state is State.QUEUED
    assert ward.job().candidates == ()
    ward.worker("w2").engine.run_ticket()
    assert ward.job().state is State.AWAITING_APPROVAL


def test_a_cancel_between_two_candidates_is_heard(ward: Any) -> None:
    gated(ward)
    worker = ward.worker()

    def cancel() -> None:
        assert ward.store.cancel("default", "video_a") is CancelOutcome.FLAGGED
        worker.leases.beat(lambda held: ward.store.beat("w1", held, 2.0))

    ward.renderer.at = {(Stage.TEXT_TO_IMAGE, 3): cancel}
    worker.engine.run_ticket()
    assert ward.job().state is State.CANCELLED
    assert len(painted_seeds(ward)) == 1
