"""Public pipelines in miniature: diffusers' own classes with random weights, saved as the real folders are.

Each folder is under 1 MB (Stable Video Diffusion 4 MB: its group norms want 32 channels) and makes noise in
milliseconds. Sizes follow the real proportions where a rule hangs on them (latent frames, pixels per latent
cell), and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from rig import tiny_pictures as pictures
from rig import tiny_videos as videos

PICTURE_PIPELINES: dict[str, Callable[[], Any]] = {
    "sd15": pictures.stable_diffusion,
    "sd21": pictures.stable_diffusion_2,
    "sdxl": pictures.sdxl,
    "sd3": pictures.sd3,
    "flux": pictures.flux,
    "pixart": pictures.pixart,
}
VIDEO_PIPELINES: dict[str, Callable[[], Any]] = {
    "i2vgen-xl": videos.i2vgen_xl,
    "svd": videos.stable_video_diffusion,
    "cogvideox-i2v": videos.cogvideox_image_to_video,
    "ltx-i2v": videos.ltx_image_to_video,
    "wan-i2v": videos.wan_image_to_video,
    "modelscope": videos.text_to_video_sd,
    "cogvideox": videos.cogvideox,
}


def write_tiny(name: str, folder: Path, seed: int = 0, make: Callable[[], Any] | None = None) -> Path:
    """Save the named pipeline (or what `make` builds) under `folder`/`name`; returns that folder."""
    build = make or (PICTURE_PIPELINES | VIDEO_PIPELINES)[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        pipeline = build()
    pipeline.save_pretrained(folder / name)
    return folder / name
