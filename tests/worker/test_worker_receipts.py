"""Receipts of films that went through the composed worker, and the verdicts on films made again."""

import hashlib
import io
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rig.fake_renderer import WEIGHTS

from models.abilities import Abilities, KeyframePlace
from models.spec import FrameRule
from models.video_families import RenderSpec
from service.contracts.job import VideoJob
from service.contracts.receipt import MAX_PSNR_DB, KeyframeOrigin, Receipt, Reproduction, Verdict
from service.contracts.request import KeyframeGate, Original, SourceFilm
from worker.provenance.comparison import NotToBeMeasured, psnr_db


def rendered(ward: Any, job_id: str = "video_a", **fields: Any) -> VideoJob:
    ward.submit(job_id, **fields)
    return run(ward, job_id)


def run(ward: Any, job_id: str) -> VideoJob:
    ward.worker().engine.run_ticket()
    job: VideoJob = ward.job(job_id)
    assert job.artifact is not None, job
    return job


def receipt_of(job: VideoJob) -> Receipt:
    assert job.artifact is not None
    assert job.artifact.receipt is not None
    return job.artifact.receipt


def again(ward: Any, first: VideoJob, changes: Any = None, **fields: Any) -> Reproduction:
    """The verdict on a repetition of `first`, whose receipt is changed before by `changes`."""
    assert first.artifact is not None
    receipt = receipt_of(first).model_copy(update=changes or {})
    original = Original(video_id=first.id, key=first.artifact.key, receipt=receipt)
    second = rendered(ward, "video_b", reproduces=original, **fields)
    assert second.artifact is not None
    assert second.artifact.reproduction is not None
    return second.artifact.reproduction


def test_a_receipt_says_what_decided_about_the_frames(ward: Any) -> None:
    job = rendered(ward, prompt="a red circle", gamma=0.0)
    receipt = receipt_of(job)
    assert (receipt.model, receipt.weight_hash) == ("fake", WEIGHTS)
    assert (receipt.prompt, receipt.seed, receipt.gamma) == ("a red circle", 7, 0.0)
    assert (receipt.width, receipt.height, receipt.frames, receipt.fps) == (32, 16, 4, 8)
    first, second = receipt.stages["text_to_image"], receipt.stages["image_to_video"]
    assert (first.steps, first.sampler) == (3, None)
    assert (second.steps, second.sampler, second.guidance_scale) == (6, "ddim", 5.0)
    assert {stage.weight_hash for stage in (first, second)} == {WEIGHTS}
    assert (receipt.device, receipt.device_class, receipt.batch) == ("cpu", "cpu FAKE", 1)
    assert {"microcinema", "torch", "diffusers", "recipe"} == set(receipt.versions)
    frames = [np.full((16, 32, 3), 7 + index, np.uint8) for index in (1, 2, 3, 4)]
    assert receipt.frame_digest == hashlib.sha256(np.stack(frames).tobytes()).hexdigest()
    assert receipt.keyframe is not None
    assert (receipt.keyframe.origin, receipt.keyframe.seed) == (KeyframeOrigin.PAINTED, 7)
    assert job.keyframe is not None
    stored = Image.open(io.BytesIO(ward.body(job.keyframe.key))).convert("RGB").tobytes()
    assert receipt.keyframe.pixels_sha256 == hashlib.sha256(stored).hexdigest()


def test_it_says_where_a_picture_came_from_and_names_no_stage_that_was_skipped(ward: Any) -> None:
    own = ward.own_picture()
    receipt = receipt_of(rendered(ward, input_picture=own))
    assert receipt.keyframe is not None
    assert (receipt.keyframe.origin, receipt.keyframe.seed) == (KeyframeOrigin.UPLOAD, None)
    assert list(receipt.stages) == ["image_to_video"]
    taken = own.model_copy(update={"taken_from": "video_old"})
    keyframe = receipt_of(rendered(ward, "video_b", input_picture=taken)).keyframe
    assert keyframe is not None
    assert (keyframe.origin, keyframe.taken_from) == (KeyframeOrigin.REMIX, "video_old")


def test_an_extension_names_the_film_that_its_keyframe_is_of(ward: Any) -> None:
    old = rendered(ward)
    assert old.artifact is not None
    able = Abilities(KeyframePlace.FIRST, paints=False, negative_prompt=True, noise_prior=True)
    ward.renderer.spec = RenderSpec(
        name="fake",
        sizes=((32, 16),),
        frames=FrameRule(minimum=4, maximum=8, default=4),
        fps=8,
        video_steps=6,
        video_guidance=5.0,
        abilities=able,
        description="for tests",
        license="Apache-2.0",
    )
    film = SourceFilm(video_id=old.id, key=old.artifact.key, sha256=old.artifact.sha256, frames=4)
    receipt = receipt_of(rendered(ward, "video_b", extends=film))
    assert receipt.keyframe is not None
    assert (receipt.keyframe.origin, receipt.keyframe.taken_from) == (KeyframeOrigin.EXTEND, "video_a")
    assert receipt.frames == 7


def test_those_of_a_batch_say_how_many_they_were(ward: Any) -> None:
    worker = ward.worker(max_batch=4)
    for job_id in ("video_a", "video_b", "video_c"):
        ward.submit(job_id)
    worker.engine.run_ticket()
    assert {receipt_of(ward.job(job_id)).batch for job_id in ("video_a", "video_b", "video_c")} == {3}


def test_the_same_again_is_equal_and_needs_nothing_of_the_original(ward: Any) -> None:
    first = rendered(ward)
    assert first.artifact is not None
    ward.storage.delete(first.artifact.key)
    assert again(ward, first) == Reproduction(verdict=Verdict.EQUAL)


def test_an_approved_candidate_is_painted_again(ward: Any) -> None:
    ward.submit(gate=KeyframeGate(candidates=3, approval_s=60))
    ward.worker().engine.run_ticket()
    gated = ward.job()
    ward.store.approve("default", gated.id, "2", gated.candidates[2])
    first = run(ward, gated.id)
    keyframe = receipt_of(first).keyframe
    assert keyframe is not None
    assert keyframe.seed == 9
    assert first.artifact is not None
    original = Original(video_id=first.id, key=first.artifact.key, receipt=receipt_of(first), candidate=2)
    second = rendered(ward, "video_b", reproduces=original)
    assert [orders[0].seed for orders in ward.renderer.painted] == [7, 8, 9, 9]
    assert second.artifact is not None
    assert second.artifact.reproduction == Reproduction(verdict=Verdict.EQUAL)


def test_other_frames_are_so_many_decibels_away(ward: Any) -> None:
    verdict = again(ward, rendered(ward), seed=17)  # flat frames, ten levels brighter
    assert (verdict.verdict, verdict.reason) == (Verdict.DIFFERENT, None)
    assert verdict.psnr_db == pytest.approx(10 * np.log10(255**2 / 10**2), abs=0.8)
    assert verdict.changed == ("keyframe",)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"weight_hash": "other" * 4}, "weight_hash was otherotherotherother and is feedface"),
        ({"device_class": "cuda NVIDIA"}, "device_class was cuda NVIDIA and is cpu FAKE"),
    ],
)
def test_other_frames_prove_nothing_where_weights_or_device_are_others(
    ward: Any, changes: Any, named: str
) -> None:
    verdict = again(ward, rendered(ward), changes, seed=17)
    assert verdict.verdict is Verdict.INCOMPARABLE
    assert named in str(verdict.reason)
    assert verdict.changed == (*changes, "keyframe")
    assert verdict.psnr_db is not None


def test_other_frames_cannot_be_measured_once_the_originals_file_is_gone(ward: Any) -> None:
    first = rendered(ward)
    assert first.artifact is not None
    ward.storage.delete(first.artifact.key)
    verdict = again(ward, first, seed=17)
    assert (verdict.verdict, verdict.psnr_db) == (Verdict.INCOMPARABLE, None)
    assert verdict.reason == "the original's file is gone: it was deleted or its time is over"


def test_what_else_has_changed_is_told_and_decides_nothing(ward: Any) -> None:
    first = rendered(ward)
    versions = {**receipt_of(first).versions, "torch": "1.0"}
    verdict = again(ward, first, {"versions": versions, "batch": 3})
    assert verdict == Reproduction(verdict=Verdict.EQUAL, changed=("batch", "versions.torch"))


def test_films_of_other_lengths_cannot_be_laid_over_each_other(ward: Any) -> None:
    films = [
        ward.body(job.artifact.key)
        for job in (rendered(ward), rendered(ward, "video_b", num_frames=6))
        if job.artifact
    ]
    assert psnr_db(films[0], films[0], lambda: None) == MAX_PSNR_DB
    with pytest.raises(NotToBeMeasured, match="differ in size or length"):
        psnr_db(*films, lambda: None)
    with pytest.raises(NotToBeMeasured, match="does not decode"):
        psnr_db(films[0], b"no film", lambda: None)
