"""What the tests ask of every public video pipeline, and how they watch its network."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from models.diffusers_video import DiffusersVideo
from models.orders import VideoOrder
from models.stepwise import result_of

SIZE = (64, 64)
ORDER = VideoOrder(
    prompt="a red circle",
    negative_prompt="blurred",
    seed=7,
    steps=3,
    guidance_scale=3.0,
    gamma=0.0,
    num_frames=9,
    width=64,
    height=64,
    fps=8,
)
TEXT_ONLY = ("modelscope", "cogvideox")


def keyframes(family: str, shade: int = 90) -> list[Any]:
    if family in TEXT_ONLY:
        return []
    picture = np.full((64, 64, 3), shade, np.uint8)
    picture[16:40, 20:44] = (220, 30, 30)
    return [picture]


def film(video: DiffusersVideo, family: str, **changes: Any) -> Any:
    frames = result_of(video.animate([replace(ORDER, **changes)], keyframes(family)))[0]
    return np.stack(list(video.decode(frames)))


def network(video: DiffusersVideo) -> Any:
    pipeline: Any = video._pipeline
    return getattr(pipeline, "transformer", None) or pipeline.unet


def count_calls(video: DiffusersVideo) -> tuple[list[int], Any]:
    calls: list[int] = []
    return calls, network(video).register_forward_pre_hook(lambda *_: calls.append(1))
