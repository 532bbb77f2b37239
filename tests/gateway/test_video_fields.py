"""A job's JSON, which the routes asked all the time write without a view, against the view of the others."""

import json

import pytest
from pydantic_core import to_json
from rig.receipts import receipt_of, verdict_of

from service.api.addresses import Links
from service.api.views import Outlook, QueueView, VideoView, video_fields
from service.contracts.artifact import Artifact
from service.contracts.failure import Failure, FailureCode
from service.contracts.job import Try, VideoJob
from service.contracts.lifecycle import Stage, State
from service.contracts.request import Fit, KeyframeGate, Original, PictureRef, SourceFilm, VideoRequest

REQUEST = VideoRequest(
    prompt="a red circle \u2603",
    model="micro",
    width=64,
    height=64,
    num_frames=16,
    fps=8,
    seed=7,
    num_inference_steps=25,
    guidance_scale=5,
    gamma=0,
    sampler="ddim",
)
RECEIPT = receipt_of(REQUEST)
ORIGINAL = Original(video_id="video_0", key="default/video_0/1/video.mp4", receipt=RECEIPT)
PICTURE = Artifact(key="a/b.webp", content_type="image/webp", bytes=1, sha256="a" * 64, width=64, height=64)
FILM = PICTURE.model_copy(
    update={
        "frames": 16,
        "fps": 8,
        "frame_digest": "f" * 64,
        "thumbnail": PICTURE,
        "spritesheet": PICTURE,
        "receipt": RECEIPT,
        "reproduction": verdict_of(ORIGINAL, RECEIPT),
    }
)
JOB = VideoJob(
    id="video_1",
    tenant="default",
    state=State.QUEUED,
    request=REQUEST,
    compat="c",
    pool="default",
    created_at=1795811058.2272,
)
QUEUED = Outlook(QueueView(pool="default", ready=2, ahead=1, eta_p50_seconds=1.5, live_workers=0), ("none",))
LINKS = Links(video="v", image="i", events="e", candidates=("c",), expires_at=1795811058)
RUNNING = JOB.model_copy(
    update={
        "state": State.RUNNING,
        "stage": Stage.IMAGE_TO_VIDEO,
        "attempt": 2,
        "started_at": 1795811059.5,
        "finish_by": 1795811099.0,
        "tries": (
            Try(
                number=1, worker="w", started_at=1.0, ended_at=2.5, outcome=State.QUEUED, reason="worker_lost"
            ),
            Try(number=2, worker="w", started_at=3.0),
        ),
        "request": REQUEST.model_copy(
            update={
                "asked_as": {"model": "sora-2"},
                "metadata": {"order": "4711"},
                "webhook_url": "https://example.com/hook",
                "webhook_events": ("video.completed",),
                "input_picture": PictureRef(
                    key="a/in.png", sha256="a" * 64, width=8, height=8, fit=Fit.COVER
                ),
                "extends": SourceFilm(video_id="video_0", key="a/old.mp4", sha256="a" * 64, frames=16),
            }
        ),
    }
)
GATED = JOB.model_copy(
    update={
        "state": State.AWAITING_APPROVAL,
        "approve_by": 1795811058.5,
        "candidates": (PICTURE, PICTURE),
        "request": REQUEST.model_copy(update={"gate": KeyframeGate(candidates=2, approval_s=60.0)}),
    }
)
SUCCEEDED = JOB.model_copy(
    update={
        "state": State.SUCCEEDED,
        "progress": 100,
        "artifact": FILM,
        "keyframe": PICTURE,
        "usage": {"seconds": 7.0, "bytes": 48120.0, "device": "cpu"},
        "warnings": ("odd words",),
        "request": REQUEST.model_copy(update={"reproduces": ORIGINAL}),
    }
)
FAILED = JOB.model_copy(
    update={
        "state": State.FAILED,
        "failure": Failure(code=FailureCode.INTERNAL, message="broken", retryable=True),
    }
)
CANCELLED = JOB.model_copy(update={"state": State.CANCELLED})
EXPIRED = JOB.model_copy(update={"state": State.EXPIRED, "expires_at": 1795811058.0})

ENDED_OR_UNDER_WAY = (RUNNING, GATED, SUCCEEDED, FAILED, CANCELLED, EXPIRED)


def test_the_fields_are_those_of_the_view_in_its_order() -> None:
    fields = video_fields(JOB, "http://x", Outlook(), Links())
    named = {name: field.serialization_alias or name for name, field in VideoView.model_fields.items()}
    assert list(fields) == list(named.values())


@pytest.mark.parametrize(
    ("job", "outlook"),
    [(JOB, QUEUED), *((job, Outlook()) for job in ENDED_OR_UNDER_WAY)],
    ids=lambda part: part.state.value if isinstance(part, VideoJob) else "",
)
def test_written_at_once_and_by_the_view_they_are_the_same(job: VideoJob, outlook: Outlook) -> None:
    fields = video_fields(job, "http://x/v1", outlook, LINKS)
    written = to_json(fields)
    assert written == VideoView.model_validate(fields).model_dump_json(by_alias=True).encode()
    # What is written is what its schema says, with no kind bent into another.
    assert VideoView.model_validate_json(written, strict=True).id == json.loads(written)["id"]
