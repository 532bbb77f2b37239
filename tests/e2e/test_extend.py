"""A film goes on through the whole service, on a tiny public model whose picture is the first frame."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image
from rig.tiny_pipelines import write_tiny

StartService = Callable[..., Any]
ASKED = {"num_frames": 9, "fps": 8, "num_inference_steps": 4}


def frames_of(service: Any, video_id: str) -> list[Any]:
    with service.client() as client:
        mp4 = client.get(f"/videos/{video_id}/content").content
    with av.open(io.BytesIO(mp4)) as film:
        return [frame.to_ndarray(format="rgb24").astype(int) for frame in film.decode(video=0)]


def extended(service: Any, video_id: str) -> str:
    with service.client() as client:
        answer = client.post(f"/videos/{video_id}/extend", json={"prompt": "it goes on", **ASKED})
        assert answer.status_code == 202, answer.text
        client.delete(f"/videos/{video_id}")  # what is needed of it is copied
    new: str = answer.json()["id"]
    done = service.wait_for(new, "succeeded", "failed", seconds=90)
    assert done["state"] == "succeeded", done
    assert (done["video"]["frames"], done["stage"]) == (done["num_frames"], "upload")
    return new


@pytest.mark.timeout(240)
def test_a_film_grows_by_its_last_frame(start_service: StartService, tmp_path: Path) -> None:
    """Twice: nine frames, then eight more each time, and the old ones look as they did."""
    service = start_service(
        MICROCINEMA_WEIGHTS=str(write_tiny("ltx-i2v", tmp_path)),
        MICROCINEMA_PICTURE_MODEL=str(write_tiny("sd15", tmp_path)),
        MICROCINEMA_SIZES="64x64",
    )
    service.worker()
    first = service.create(**ASKED)["id"]
    assert service.wait_for(first, "succeeded", "failed", seconds=90)["state"] == "succeeded"
    stages = service.video(first)["receipt"]["stages"]
    assert list(stages) == ["text_to_image", "image_to_video"]
    assert len({stage["weight_hash"] for stage in stages.values()}) == 2, "each part has weights of its own"
    assert {stage["dtype"] for stage in stages.values()} == {"float32"}
    before = frames_of(service, first)
    second = extended(service, first)
    with service.client() as client:
        picture = Image.open(io.BytesIO(client.get(f"/videos/{second}/content?variant=image").content))
    assert service.video(second)["receipt"]["keyframe"]["taken_from"] == first
    middle = frames_of(service, second)
    third = extended(service, second)
    after = frames_of(service, third)
    assert [len(before), len(middle), len(after)] == [9, 17, 25]
    for old, new in ((before, middle), (middle, after)):
        unlike = [float(np.abs(a - b).mean()) for a, b in zip(old, new, strict=False)]
        assert max(unlike) < 6, "encoded once more, the old frames are the same pictures"
    assert float(np.abs(np.asarray(picture, int) - before[-1]).mean()) < 3
    assert service.video(third)["source_frames"] == 17
    assert service.objects(third) == [
        f"default/{third}/{name}"
        for name in (
            "1/keyframe.png",
            "1/spritesheet.jpg",
            "1/thumbnail.webp",
            "1/video.mp4",
            "input/source.mp4",
        )
    ]
