"""A training at scale in miniature: tiny videos in shards, the nano model, a config that names them."""

from __future__ import annotations

from pathlib import Path

from models.nano import write_nano
from models.training.scale.clip_times import ClipRule
from models.training.scale.pack import Demand, pack
from rig.footage import mp4, pan

CONFIG = """
[start]
folder = "{folder}/nano"

[shards]
folder = "{folder}/shards"

[clips]
frames = 4
fps = 8
width = 32
height = 32

[objective]
beta_start = 0.00085
beta_end = 0.012
train_timesteps = 1000
snr_cap = inf
text_dropped = 0.1
appearance_weight = 0.03
redrawn_share = 0.5

[plan]
{plan}

[previews]
every = {every}
prompts = ["a camera pans", "something else"]

[result]
dtype = "fp32"
"""

PLAN = {
    "steps": 20,
    "batch": 2,
    "learning_rate": 1e-3,
    "warmup_steps": 3,
    "ema_decay": 0.9,
    "seed": 5,
    "threads": 1,
    "log_every": 5,
    "checkpoint_every": 100,
}


def prepare(folder: Path, clips: int = 7, per_shard: int = 2) -> Path:
    """Fill `folder` with videos, shards of them and the nano model."""
    videos = folder / "videos"
    videos.mkdir(parents=True)
    for n in range(clips):
        (videos / f"{n}.mp4").write_bytes(mp4(pan(n, 8 + n, side=48, speed=2)))
        (videos / f"{n}.txt").write_text(f"camera number {n} pans")
    pack(videos, folder / "shards", Demand(ClipRule(4, 8), 32, 32), clips_per_shard=per_shard)
    write_nano(folder / "nano", seed=3)
    return folder


def write_config(folder: Path, name: str = "train.toml", every: int = 0, **changes: object) -> Path:
    """A config over what `prepare` made."""
    plan = "\n".join(f"{key} = {_toml(value)}" for key, value in {**PLAN, **changes}.items())
    path = folder / name
    path.write_text(CONFIG.format(folder=folder, plan=plan, every=every))
    return path


def _toml(value: object) -> str:
    return (
        str(value).lower()
        if isinstance(value, bool)
        else f'"{value}"'
        if isinstance(value, str)
        else str(value)
    )
