"""An extension through the composed worker: it begins where the old film ends, and both come out as one."""

import hashlib
import io
from typing import Any

import av
import numpy as np
import pytest

from models.abilities import Abilities, KeyframePlace
from models.spec import FrameRule
from models.video_families import RenderSpec
from service.contracts.lifecycle import State
from service.contracts.request import SourceFilm
from worker.film.encode import encode_mp4
from worker.source_film import frames_of, last_frame

COLOURS = [(200, 30, 30), (30, 200, 30), (40, 60, 220)]


def old_film() -> tuple[bytes, list[Any]]:
    frames = [np.full((16, 32, 3), colour, np.uint8) for colour in COLOURS]
    return encode_mp4(iter(frames), fps=8, expected_frames=3).body, frames


def store(ward: Any, body: bytes, **changes: Any) -> SourceFilm:
    source = SourceFilm(
        video_id="video_old",
        key="default/video_a/input/source.mp4",
        sha256=hashlib.sha256(body).hexdigest(),
        frames=3,
    )
    ward.storage.put(source.key, body, "video/mp4")
    return source.model_copy(update=changes)


@pytest.fixture
def first(ward: Any) -> Any:
    """A ward whose model takes its picture for the first frame."""
    ward.renderer.spec = RenderSpec(
        name="fake",
        sizes=((32, 16),),
        frames=FrameRule(minimum=4, maximum=8, default=4),
        fps=8,
        video_steps=6,
        video_guidance=5.0,
        abilities=Abilities(KeyframePlace.FIRST, paints=False, negative_prompt=True, noise_prior=True),
        description="for tests",
        license="Apache-2.0",
    )
    return ward


def test_frames_come_back_as_they_went_in() -> None:
    body, frames = old_film()
    for read, written in zip(frames_of(body), frames, strict=True):
        assert read.shape == written.shape
        assert np.abs(read.astype(int) - written.astype(int)).max() <= 4


def test_an_extension_is_the_old_film_and_the_new_clip(first: Any) -> None:
    body, frames = old_film()
    worker = first.worker()
    first.submit(extends=store(first, body), seed=50)
    worker.engine.run_ticket()
    job = first.job()
    assert job.state is State.SUCCEEDED
    assert job.artifact.frames == 3 + 4 - 1
    assert first.renderer.painted == []
    # It begins with the old film's last frame as a viewer sees it, which is the job's keyframe too.
    last = last_frame(body, job.request.extends)
    assert np.array_equal(first.renderer.keyframes[0], last)
    assert np.abs(last.astype(int) - frames[-1].astype(int)).max() <= 4
    assert job.keyframe.key == "default/video_a/1/keyframe.png"
    with av.open(io.BytesIO(first.body(job.artifact.key))) as film:
        shown = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
    assert len(shown) == 6
    for seen, colour in zip(shown, COLOURS, strict=False):
        assert np.abs(seen[8, 16].astype(int) - colour).max() <= 12
    assert [round(float(frame.mean())) for frame in shown[3:]] == pytest.approx([52, 53, 54], abs=2)
    progress = [percent for *_, percent in first.notes()]
    assert progress == sorted(progress)
    assert job.names("default/video_a/input/source.mp4")


def test_a_second_attempt_begins_with_the_keyframe_of_the_first(first: Any) -> None:
    worker = first.worker()
    first.submit(extends=store(first, old_film()[0]))
    first.renderer.at = {("image_to_video", 3): worker.engine.leave}
    worker.engine.run_ticket()
    assert first.job().state is State.QUEUED
    first.renderer.at = {}
    first.worker("w2").engine.run_ticket()
    job = first.job()
    assert (job.state, job.attempt, job.artifact.frames) == (State.SUCCEEDED, 2, 6)
    assert job.keyframe.key == "default/video_a/1/keyframe.png"
    assert np.array_equal(*first.renderer.keyframes)


@pytest.mark.parametrize(
    ("changes", "body", "says"),
    [
        ({"key": "default/video_a/input/other.mp4"}, None, "is gone"),
        ({"sha256": "0" * 64}, None, "was altered"),
        ({"frames": 4}, None, "has 3 frames, 4 were promised"),
        ({}, b"no film at all", "does not decode"),
    ],
)
def test_a_source_that_is_not_what_was_promised_is_named(
    first: Any, changes: dict[str, Any], body: bytes | None, says: str
) -> None:
    worker = first.worker()
    first.submit(extends=store(first, old_film()[0] if body is None else body, **changes))
    worker.engine.run_ticket()
    job = first.job()
    assert (job.state, job.failure.code) == (State.FAILED, "invalid_input")
    assert says in job.failure.message


def test_a_model_around_a_centre_frame_says_that_it_cannot(ward: Any) -> None:
    worker = ward.worker()
    ward.submit(extends=store(ward, old_film()[0]))
    worker.engine.run_ticket()
    assert "cannot begin where another video ends" in ward.job().failure.message
