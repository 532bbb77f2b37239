"""How a training at scale runs, as its TOML file says it: one frozen dataclass per table."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from models.training.scale.clip_times import ClipRule

Precision = Literal["no", "fp16", "bf16"]
OptimizerName = Literal["adamw", "adamw8bit"]
Decay = Literal["constant", "cosine"]


@dataclass(frozen=True)
class Clips:
    """[clips]: frames of a clip, at fps a second, width x height pixels."""

    frames: int
    fps: int
    width: int
    height: int

    @property
    def rule(self) -> ClipRule:
        return ClipRule(self.frames, self.fps)


@dataclass(frozen=True)
class ScalePlan:
    """[plan]: how long, how fast and how sparingly.

    steps: of the optimiser, in all. batch: clips of one process in one forward pass; a step sees
    batch x accumulate x processes of them. learning_rate: peak, after warmup_steps; `decay` "cosine" brings
    it down to 1 % over the steps. precision: of the arithmetic inside the networks; weights, their average
    and the optimiser's moments stay float32. optimizer: "adamw8bit" keeps the moments in 8 bits.
    freeze_spatial: false trains Stable Diffusion's own layers too, and so the picture model of stage 1,
    which has the same ones. encode_together: frames that the autoencoder encodes at once.
    threads: of the CPU, 0 for torch's own choice.
    """

    steps: int
    batch: int
    learning_rate: float
    warmup_steps: int
    ema_decay: float
    seed: int
    accumulate: int = 1
    decay: Decay = "constant"
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    optimizer: OptimizerName = "adamw"
    precision: Precision = "no"
    freeze_spatial: bool = True
    gradient_checkpointing: bool = True
    encode_together: int = 8
    loader_processes: int = 0
    threads: int = 0
    log_every: int = 10
    checkpoint_every: int = 1000
    keep_checkpoints: int = 2

    def __post_init__(self) -> None:
        at_least = {"warmup_steps": 0, "loader_processes": 0, "threads": 0, "seed": 0}
        counts = ("steps", "batch", "accumulate", "encode_together", "log_every", "checkpoint_every")
        for name, least in at_least.items() | {(each, 1) for each in (*counts, "keep_checkpoints")}:
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least {least}")
        for name in ("learning_rate", "max_grad_norm"):
            value = getattr(self, name)
            if not (value > 0 and math.isfinite(value)):
                raise ValueError(f"{name} is {value}; it must be above 0")
        if not 0 <= self.ema_decay < 1:
            raise ValueError(f"ema_decay is {self.ema_decay}; it must lie in [0, 1)")
        for name, kind in (("optimizer", OptimizerName), ("precision", Precision), ("decay", Decay)):
            if getattr(self, name) not in get_args(kind):
                raise ValueError(f"{name} is {getattr(self, name)!r}; it must be one of {get_args(kind)}")


@dataclass(frozen=True)
class PreviewPlan:
    """[previews]: every so many steps the averaged weights film these prompts; 0 for never."""

    every: int
    prompts: tuple[str, ...]
    seed: int = 0

    def __post_init__(self) -> None:
        if self.every < 0:
            raise ValueError(f"every is {self.every}; it must be at least 0")
        if self.every and not self.prompts:
            raise ValueError("prompts is empty; name at least one, or set every = 0")
