"""The nouns refuse what they must and come back from text as they went."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from service.contracts.artifact import Artifact
from service.contracts.compat import compat_key
from service.contracts.failure import Failure, FailureCode
from service.contracts.ids import is_id, new_video_id
from service.contracts.job import VideoJob
from service.contracts.lifecycle import Stage, State
from service.contracts.model_spec import Bounds, FrameBounds, ModelSpec
from service.contracts.request import MAX_SEED, PictureRef, VideoRequest

REQUEST = VideoRequest(
    prompt="a red circle moves left",
    model="micro",
    width=64,
    height=64,
    num_frames=16,
    fps=8,
    seed=7,
    num_inference_steps=25,
    guidance_scale=5.0,
    gamma=0.02,
    sampler="ddim",
)
SPEC = ModelSpec(
    name="micro",
    weight_hash="0123456789abcdef0123",
    sizes=((64, 64), (96, 64)),
    frames=FrameBounds(min=5, max=17, default=17, multiple_of=4, offset=1),
    fps=Bounds[int](min=1, max=30, default=8),
    steps=Bounds[int](min=4, max=50, default=25),
    guidance_scale=Bounds[float](min=1, max=15, default=5),
    gamma=Bounds[float](min=0, max=0.05, default=0.02),
    prompt_max_chars=500,
    max_picture_pixels=1_000_000,
    image_input=True,
    samplers=("ddim", "dpm++2m"),
    description="small",
    license="Apache-2.0",
)


def changed(**fields: object) -> VideoRequest:
    return VideoRequest.model_validate(REQUEST.model_dump() | fields)


# ---- ids ----


def test_a_video_id_is_made_of_the_time_and_of_chance():
    made = new_video_id(clock_ms=lambda: 0x18BCFE56800, random_hex=lambda count: "ab" * count)
    assert made == "video_018bcfe56800" + "ab" * 10
    assert is_id(made)


def test_later_ids_sort_later_and_no_two_are_equal():
    assert new_video_id(clock_ms=lambda: 999.0) < new_video_id(clock_ms=lambda: 1000.0)
    assert len({new_video_id() for _ in range(1000)}) == 1000


@pytest.mark.parametrize("text", ["", "a/b", "a:b", "a b", "..", "ü", "a" * 129, "a\n"])
def test_text_that_needs_escaping_is_no_id(text):
    assert not is_id(text)


# ---- request ----


@given(st.text(min_size=1).filter(lambda s: s.isprintable()), st.integers(0, MAX_SEED), st.integers(-10, 10))
def test_a_request_comes_back_from_json(prompt, seed, priority):
    request = changed(prompt=prompt, seed=seed, priority=priority, metadata={"k": prompt[:512]})
    assert VideoRequest.model_validate_json(request.model_dump_json()) == request


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("prompt", ""),
        ("seed", -1),
        ("seed", MAX_SEED + 1),
        ("seed", None),
        ("priority", 11),
        ("guidance_scale", float("nan")),
        ("gamma", float("inf")),
        ("model", "a/b"),
        ("metadata", {"k" * 65: "v"}),
        ("metadata", {"k": "v" * 513}),
        ("metadata", {str(n): "v" for n in range(17)}),
        ("webhook_url", "h" * 2049),
    ],
)
def test_a_request_out_of_bounds_names_the_field(field, value):
    with pytest.raises(ValidationError) as refusal:
        changed(**{field: value})
    assert refusal.value.errors()[0]["loc"][0] == field


def test_a_request_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        REQUEST.seed = 8


# ---- model spec ----


@pytest.mark.parametrize(
    ("count", "allowed"), [(4, False), (5, True), (16, False), (17, True), (21, False), (1, False)]
)
def test_frame_counts_lie_on_their_grid(count, allowed):
    assert SPEC.frames.allows(count) is allowed


def test_a_default_outside_its_own_bounds_is_refused():
    with pytest.raises(ValidationError, match="default 9 must lie between min 1 and max 8"):
        Bounds[int](min=1, max=8, default=9)
    with pytest.raises(ValidationError, match="default 6"):
        FrameBounds(min=4, max=8, default=6, multiple_of=4)


def test_a_spec_comes_back_from_json_with_its_default_size_first():
    assert ModelSpec.model_validate_json(SPEC.model_dump_json()) == SPEC
    assert SPEC.default_size == (64, 64)
    assert SPEC.gamma.allows(0.05)
    assert not SPEC.gamma.allows(0.051)


# ---- compat ----


@pytest.mark.parametrize(
    "fields",
    [
        {"model": "other"},
        {"width": 96},
        {"num_frames": 8},
        {"sampler": "dpm++2m"},
        {"num_inference_steps": 24},
        {"guidance_scale": 1.0},
    ],
)
def test_what_shapes_the_batch_is_in_the_compat_key(fields):
    assert compat_key(changed(**fields), SPEC) != compat_key(REQUEST, SPEC)


@pytest.mark.parametrize(
    "fields",
    [
        {"prompt": "other"},
        {"negative_prompt": "blur"},
        {"seed": 8},
        {"guidance_scale": 7.5},
        {"gamma": 0.0},
        {"fps": 12},
        {"priority": 2},
    ],
)
def test_what_differs_per_sample_is_not(fields):
    assert compat_key(changed(**fields), SPEC) == compat_key(REQUEST, SPEC)


def test_weights_and_the_starting_point_part_batches():
    base = compat_key(REQUEST, SPEC)
    assert compat_key(REQUEST, SPEC.model_copy(update={"weight_hash": "fedcba9876543210"})) != base
    assert compat_key(REQUEST, SPEC, first_stage=Stage.IMAGE_TO_VIDEO) != base
    assert compat_key(REQUEST, SPEC, first_step=3) != base


# ---- job ----


def record(**fields: str) -> dict[str, str]:
    return {
        "id": "video_a",
        "tenant": "default",
        "state": "queued",
        "request": REQUEST.model_dump_json(),
        "compat": "c",
        "pool": "default",
        "created_at": "1700000000.000001",
        "cancel_requested": "0",
        "deleted": "0",
    } | fields


def test_a_record_becomes_a_job_and_empty_means_not_set():
    job = VideoJob.from_record(record(stage="", keyframe="", failure="", worker="", started_at="", rank="1"))
    assert (job.state, job.request, job.created_at) == (State.QUEUED, REQUEST, 1700000000.000001)
    assert job.stage is job.keyframe is job.failure is job.worker is job.started_at is None
    assert (job.cancel_requested, job.deleted, job.terminal) == (False, False, False)


def test_a_job_knows_every_object_that_it_names():
    picture = PictureRef(key="default/video_a/input/picture.png", sha256="a" * 64, width=64, height=64)
    artifact = Artifact(
        key="default/video_a/1/video.mp4",
        content_type="video/mp4",
        bytes=1,
        sha256="a" * 64,
        width=64,
        height=64,
        frames=16,
        fps=8,
    )
    job = VideoJob.from_record(
        record(
            state="succeeded",
            request=changed(input_picture=picture).model_dump_json(),
            artifact=artifact.model_dump_json(),
        )
    )
    assert job.terminal
    assert job.names(picture.key)
    assert job.names(artifact.key)
    assert not job.names("default/video_a/2/video.mp4")


def test_a_failure_needs_its_sentence():
    with pytest.raises(ValidationError):
        Failure(code=FailureCode.INTERNAL, message="", retryable=False)
