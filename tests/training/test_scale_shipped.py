"""The shipped model judges the way from files to the loss: films of its world cost what its training cost."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from rig.footage import mp4

from models.cinema import MICRO_WEIGHTS
from models.denoiser import VideoDenoiser
from models.training import video_set
from models.training.captions import TRAIN_TEMPLATES, caption, draw_scenes
from models.training.config import table
from models.training.objective import Objective
from models.training.scale.conditions import Conditions
from models.training.scale.networks import Start, begin
from models.training.scale.pack import Demand, pack
from models.training.scale.plan import Clips
from models.training.scale.sources import ShardClips
from models.training.scale.trainer import seeds_of
from models.training.stage_two_loss import StageTwoLoss
from models.training.world import render

CLIPS = Clips(frames=16, fps=8, width=64, height=64)
CPU = torch.device("cpu")


@pytest.mark.timeout(300)
def test_the_shipped_model_knows_the_clips_that_come_out_of_shards(tmp_path: Path) -> None:
    """Scaling, order of frames, keyframe, caption and noise: a mistake in one of them shows in the error."""
    videos = tmp_path / "videos"
    videos.mkdir()
    rng = np.random.default_rng(0)
    for number, scene in enumerate(draw_scenes(8, 1, "train")):
        (videos / f"{number}.mp4").write_bytes(mp4(render(scene), 8))
        (videos / f"{number}.txt").write_text(caption(scene, rng, TRAIN_TEMPLATES))
    pack(videos, tmp_path / "shards", Demand(CLIPS.rule, 64, 64))
    source = ShardClips.open(tmp_path / "shards", CLIPS, 4, 0, 0, 1)
    parts = begin(Start(str(MICRO_WEIGHTS)), CPU, 0)
    objective = table(Path(video_set.__file__).with_name("image_to_video.toml"), "objective", Objective)
    loss, conditions = StageTwoLoss(objective), Conditions(parts, objective, CPU, 16)
    denoiser = VideoDenoiser(parts.main, parts.appearnet)
    errors = []
    with torch.no_grad():
        for number, batch in enumerate(islice(source.batches(0, 1), 4)):
            noise, choices = seeds_of(0, 0, number)
            example = conditions.prepare(batch, choices)
            cases = (
                (example.clean, example.z_c),
                (example.clean, example.z_c.roll(1, dims=0)),  # another clip's picture
                (2 * example.clean, 2 * example.z_c),  # another scale
            )
            state = noise.get_state()
            row = []
            for clean, z_c in cases:
                noise.set_state(state)
                row.append(float(loss(denoiser, clean, z_c, example.text, noise)))
            errors.append(row)
    right, other_picture, other_scale = np.mean(errors, axis=0)
    assert right < 0.12  # 0.03 to 0.05 at the end of its training
    assert other_picture > 2 * right
    assert other_scale > 2 * right
