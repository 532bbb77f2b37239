"""Train one trial: the same steps on the same batches from the same weights, whatever the trial changes."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from models.evaluation.ablations.paths import PATHS
from models.evaluation.ablations.start import Start, digest
from models.evaluation.ablations.study import Setting, Trial
from models.training.loop import Clock, Plan, Training, write_atomically
from models.training.train_image_to_video import StageTwo
from models.training.video_set import VideoSet

WEIGHTS, RECORD, NAME = "weights.safetensors", "training.json", "trial"


class CountedTraining(Training):
    """A training whose budget is steps: the machine's other work must not decide how long a trial learns."""

    def __init__(
        self, modules: Mapping[str, nn.Module], plan: Plan, steps: int, work: Path, clock: Clock
    ) -> None:
        super().__init__(NAME, modules, plan, work, clock)
        self.steps = steps

    @property
    def progress(self) -> float:
        """Share of the steps that are done."""
        return self.step / self.steps


@dataclass(frozen=True)
class Record:
    """What is known of a finished training.

    parameters: of the network in all, and those that trained. minutes: spent, over all resumes. loss: mean of
    the last reported ones; None when the training was too short to report any. Losses compare between paths,
    not between lambdas, which have different targets. start: `start.digest`.
    """

    path: str
    appearance_weight: float
    steps: int
    parameters: int
    trained_parameters: int
    minutes: float
    loss: float | None
    start: str


def compose(setting: Setting, trial: Trial, start: Start, videos: VideoSet) -> StageTwo:
    """The trial's networks as they are before the first step."""
    objective = replace(setting.objective, appearance_weight=trial.appearance_weight)
    return StageTwo(objective, setting.plan, start.work, videos, PATHS[trial.path])


def trial_folder(setting: Setting, trial: Trial, start: Start) -> Path:
    """Where the training of a trial lives; another setting means another folder."""
    return start.work / "trials" / f"{trial.name}-{setting.fingerprint(trial)}"


def train_trial(setting: Setting, trial: Trial, start: Start, videos: VideoSet, clock: Clock) -> Path:
    """Train or go on training; returns the trial's folder, at once when it is complete."""
    folder = trial_folder(setting, trial, start)
    if (folder / RECORD).exists():
        return folder
    stage = compose(setting, trial, start, videos)
    begun_with = digest(stage)
    training = CountedTraining({"denoiser": stage.denoiser}, setting.plan, setting.study.steps, folder, clock)
    training.run(stage.loss)
    trained = {name: average.contiguous() for name, average in training.ema.shadow.items()}
    write_atomically(folder / WEIGHTS, lambda path: save_file(trained, path))
    record = Record(
        path=trial.path,
        appearance_weight=trial.appearance_weight,
        steps=training.step,
        parameters=sum(weight.numel() for weight in stage.denoiser.parameters()),
        trained_parameters=sum(weight.numel() for weight in training.parameters.values()),
        minutes=training.minutes,
        loss=last_loss(folder / f"{NAME}_loss.txt"),
        start=begun_with,
    )
    # last of all: its presence says that the training is complete
    write_atomically(folder / RECORD, lambda path: _write(path, record))
    training.checkpoint.unlink(missing_ok=True)
    return folder


def trained(setting: Setting, trial: Trial, start: Start, videos: VideoSet) -> StageTwo:
    """The trial's networks with the averaged weights of its finished training."""
    stage = compose(setting, trial, start, videos)
    stored = load_file(trial_folder(setting, trial, start) / WEIGHTS)
    with torch.no_grad():
        for name, weight in stage.denoiser.named_parameters():
            if weight.requires_grad:
                weight.copy_(stored.pop(f"denoiser.{name}"))
    if stored:
        raise ValueError(
            f"{trial.name}: the stored weights {sorted(stored)[:4]} have no place in the network"
        )
    stage.denoiser.eval().requires_grad_(False)
    return stage


def read_record(folder: Path) -> Record:
    """The record of a finished training."""
    return Record(**json.loads((folder / RECORD).read_text()))


def last_loss(curve: Path, lines: int = 10) -> float | None:
    """Mean of the last `lines` of a loss curve."""
    if not curve.exists():
        return None
    values = [float(line.split()[2]) for line in curve.read_text().splitlines()[-lines:]]
    return sum(values) / len(values) if values else None


def _write(path: Path, record: Record) -> None:
    path.write_text(json.dumps(asdict(record), indent=1) + "\n")
