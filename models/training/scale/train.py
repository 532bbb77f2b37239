"""Train MicroCinema on shards of videos, or on the procedural world: one trainer for every size.

    python -m models.training.scale.train --config FILE.toml --work FOLDER
    accelerate launch --num_processes 8 -m models.training.scale.train --config FILE.toml --work FOLDER

The same command goes on where it was stopped. SIGTERM or Ctrl-C: the step is finished, a checkpoint written,
and the process ends with 143. The result is FOLDER/model, which serves.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from models.cinema import Cinema
from models.errors import ModelError
from models.spec import CinemaSpec
from models.training.config import read_tables, table
from models.training.loop import Clock
from models.training.objective import Objective
from models.training.scale.checkpoints import Identity, OtherRun
from models.training.scale.conditions import Conditions
from models.training.scale.journal import Journal
from models.training.scale.networks import FORMATS, Start, begin, export, finished_spec, set_moving
from models.training.scale.plan import Clips, PreviewPlan, ScalePlan
from models.training.scale.processes import Processes
from models.training.scale.shards import BadShards
from models.training.scale.sources import ClipSource, ShardClips, StoredClips
from models.training.scale.trainer import Crew, Trainer
from models.training.stage_two_loss import StageTwoLoss
from models.training.video_set import VideoSet
from models.weights import Parts

STOPPED = 128 + signal.SIGTERM


@dataclass(frozen=True)
class Shards:
    """[shards]: where `models.training.scale.pack` put them."""

    folder: str


@dataclass(frozen=True)
class Stored:
    """[stored]: the work folder of the micro chain, with its `latents.npy`, and the files of that chain whose
    [clips] and [objective] hold here too.
    """

    work: str
    clips: str
    objective: str


@dataclass(frozen=True)
class Result:
    """[result]: number format of the finished model's files."""

    dtype: str = "fp16"

    def __post_init__(self) -> None:
        if self.dtype not in FORMATS:
            raise ValueError(f"dtype is {self.dtype!r}; it must be one of {sorted(FORMATS)}")


def read_objective(config: Path) -> Objective:
    """The file's own, or the micro chain's."""
    if "stored" in read_tables(config):
        config = Path(table(config, "stored", Stored).objective)
    return table(config, "objective", Objective)


def open_source(
    config: Path, clips: Clips, objective: Objective, plan: ScalePlan, processes: Processes
) -> ClipSource:
    """The one source that the file names; raises ValueError, BadShards."""
    named = {"shards", "stored"} & set(read_tables(config))
    if len(named) != 1:
        raise ValueError(f"{config.name} must have one of [shards] and [stored], it has {len(named)}")
    if named == {"shards"}:
        for name, plain in (("rotating_weight", 1.0), ("contrary_share", 0.0)):
            if getattr(objective, name) != plain:
                raise ValueError(
                    f"{name} is {getattr(objective, name)}; it must be {plain:g} with [shards]: only stored "
                    "clips of the procedural world say what they show"
                )
        folder = Path(table(config, "shards", Shards).folder)
        return ShardClips.open(folder, clips, plan.batch, plan.seed, processes.number, processes.count)
    stored = table(config, "stored", Stored)
    videos = VideoSet.load(Path(stored.clips), Path(stored.work))
    if videos.latents.shape[1] != clips.frames:
        raise ValueError(f"frames is {clips.frames}; the stored clips have {videos.latents.shape[1]}")
    return StoredClips(videos, objective, plan.batch, plan.seed, processes.number)


def identify(plan: ScalePlan, clips: Clips, source: ClipSource, processes: Processes) -> Identity:
    """Of this run."""
    return Identity(
        processes=processes.count,
        batch=plan.batch,
        accumulate=plan.accumulate,
        seed=plan.seed,
        frames=clips.frames,
        fps=clips.fps,
        width=clips.width,
        height=clips.height,
        optimizer=plan.optimizer,
        freeze_spatial=plan.freeze_spatial,
        data=source.digest,
    )


def promised(
    begun: CinemaSpec, clips: Clips, objective: Objective, source: ClipSource, steps: str
) -> CinemaSpec:
    """The finished model's spec; raises ValueError where model, clips and source do not fit together."""
    told = (
        f"{begun.name}, trained for {steps}: {clips.frames} frames at {clips.fps} a second, "
        f"{clips.width}x{clips.height} pixels, lambda {objective.appearance_weight:g}."
    )
    spec = finished_spec(begun, clips, objective, source.vocabulary, told)
    needed = spec.latent_shape(clips.width, clips.height)
    if isinstance(source, StoredClips) and source.videos.latents.shape[2:] != needed:
        held = source.videos.latents.shape[2:]
        raise ValueError(
            f"size {clips.width}x{clips.height} takes latents {needed}; the stored ones are {held}"
        )
    return spec


def films(parts: Parts, device: torch.device, plan: PreviewPlan) -> Callable[[int, Journal], None]:
    """Film every prompt through both stages, exactly as a served model would."""
    cinema = Cinema(parts, device)

    def film(step: int, journal: Journal) -> None:
        for number, prompt in enumerate(plan.prompts):
            made = cinema(prompt, seed=plan.seed + number)
            journal.film(step, str(number), prompt, made.frames, parts.spec.fps)

    return film


def train(
    config: Path,
    work: Path,
    stop: Callable[[], bool] = lambda: False,
    clock: Clock = time.monotonic,
) -> Path | None:
    """Train (or go on) and write `work/model`; returns it, or None if `stop` ended the run before.

    Raises ValueError, OSError, ModelError, BadShards, OtherRun and FloatingPointError, each with a sentence.
    """
    folder = work / "model"
    if folder.exists():
        print(f"{folder} is complete already", flush=True)
        return folder
    plan, clips = table(config, "plan", ScalePlan), table(config, "clips", Clips)
    objective, previews = read_objective(config), table(config, "previews", PreviewPlan)
    dtype = FORMATS[table(config, "result", Result).dtype]
    if plan.threads:
        torch.set_num_threads(plan.threads)
    with Processes(plan.precision, plan.accumulate) as processes:
        source = open_source(config, clips, objective, plan, processes)
        parts = begin(table(config, "start", Start), processes.device, plan.seed)
        steps = f"{plan.steps} steps of {plan.batch * plan.accumulate * processes.count} clips"
        parts = replace(parts, spec=promised(parts.spec, clips, objective, source, steps))
        set_moving(parts, plan)
        conditions = Conditions(parts, objective, processes.device, plan.encode_together)
        crew = Crew(processes, parts, source, conditions, StageTwoLoss(objective), stop, clock)
        trainer = Trainer(plan, crew, identify(plan, clips, source, processes), work)
        if processes.first:
            count = sum(weight.numel() for weight in trainer.weights.values())
            print(
                f"{count:,} parameters train, {processes.count} process(es), step {trainer.step}", flush=True
            )
        finished = trainer.run(films(parts, processes.device, previews), previews.every)
        if finished and processes.first:
            trainer.exchange()
            export(parts, folder, dtype)
            print(f"{folder} is complete: MICROCINEMA_WEIGHTS={folder} microcinema up", flush=True)
        elif processes.first:
            print(f"stopped; the same command goes on from {trainer.checkpoints.folder}", flush=True)
        processes.wait()
    return folder if finished else None


class Request:
    """Asked to stop by a signal."""

    def __init__(self) -> None:
        self.made = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._note)

    def _note(self, *_: object) -> None:
        self.made = True

    def __call__(self) -> bool:
        return self.made


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Train MicroCinema: one process, or accelerate launch.")
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="checkpoints, films, and model at the end")
    chosen = parser.parse_args()
    try:
        folder = train(chosen.config, chosen.work, Request())
    except (ValueError, OSError, ModelError, BadShards, OtherRun, FloatingPointError) as error:
        parser.exit(1, f"models.training.scale.train: {error}\n")
    sys.exit(STOPPED if folder is None else 0)


if __name__ == "__main__":
    main()
