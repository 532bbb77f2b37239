"""The common start of all trials: the first stage of a model, its training clips, and nothing of stage 2.

The shipped stage 2 was trained with one lambda through one path for the keyframe: begun from it, every
other trial would have to unlearn before it could learn.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from models.manifest import check_manifest
from models.spec import CinemaSpec
from models.training import video_set
from models.training.adopt import copy_whole
from models.training.train_image_to_video import StageTwo
from models.training.video_set import VideoSet
from models.weights import read_spec

STAGE_ONE = ("unet", "vae", "text_encoder", "tokenizer")


@dataclass(frozen=True)
class Start:
    """A work folder that holds stage 1 and the latents of the training clips, and the model's spec."""

    work: Path
    spec: CinemaSpec
    weight_hash: str


def prepare(model: Path, config: Path, root: Path) -> Start:
    """Fill a folder under `root`, named by the model's weights, with what StageTwo reads.

    `config` has the [clips] table. Goes on where it was killed; a complete folder is left as it is.
    Raises BadWeights when `model` is no model folder or its files are not those of its manifest.
    """
    weight_hash = check_manifest(model)
    work = root / weight_hash[:12]
    for source, place in [*((name, f"stage1/{name}") for name in STAGE_ONE), ("vae", "vae")]:
        copy_whole(model / source, work / place)
    video_set.build(config, work)
    return Start(work, read_spec(model), weight_hash)


def open_clips(start: Start, config: Path) -> VideoSet:
    """The training clips that `prepare` encoded."""
    return VideoSet.load(config, start.work)


def digest(stage: StageTwo) -> str:
    """sha256 over every weight that a stage begins with; the same in all trials, or they do not compare."""
    summed = hashlib.sha256()
    for net in (stage.main, stage.appearnet):
        _add(summed, net)
    return summed.hexdigest()


def _add(summed: "hashlib._Hash", net: nn.Module) -> None:
    for name, value in sorted(net.state_dict().items()):
        summed.update(name.encode())
        summed.update(value.detach().cpu().contiguous().numpy().tobytes())
