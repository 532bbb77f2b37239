"""Run the ablations, or go on with them, and write what is known so far into the page.

    python -m models.evaluation.ablations.run

Each training keeps a checkpoint a minute, each film and each finished cell is a file: a stopped run goes
on where it was. The page's tables, its JSON and its plots are written anew after every cell.
"""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from models.cinema import MICRO_WEIGHTS
from models.errors import BadWeights
from models.evaluation.ablations.cells import TrialPipeline, Yardstick, measure_cell, measure_ruler
from models.evaluation.ablations.page import publish
from models.evaluation.ablations.paths import PATHS
from models.evaluation.ablations.results import gather
from models.evaluation.ablations.start import Start, open_clips, prepare
from models.evaluation.ablations.study import Setting, Study
from models.evaluation.ablations.trial_training import train_trial, trained
from models.training.config import table
from models.training.loop import Clock, Plan, write_atomically
from models.training.objective import Objective
from models.training.video_set import ClipSet
from models.vae import PictureCodec


def read_setting(config: Path, start: Start) -> Setting:
    """The config file's tables; a path that does not exist is an error that names it."""
    study = table(config, "study", Study)
    for path in study.paths:
        if path not in PATHS:
            raise ValueError(f"paths names {path!r}; it must be one of {', '.join(PATHS)}")
    objective, plan = table(config, "objective", Objective), table(config, "plan", Plan)
    return Setting(study, objective, plan, table(config, "clips", ClipSet), start.weight_hash)


def run(config: Path, model: Path, work: Path, page: Path, clock: Clock) -> None:
    """Everything that is still missing, trial by trial."""
    start = prepare(model, config, work)
    setting = read_setting(config, start)
    torch.set_num_threads(setting.plan.threads)
    study, videos = setting.study, open_clips(start, config)
    yardstick = Yardstick.of(study, start.spec)
    ruler: dict[str, object] | None = None
    for trial in study.trials():
        print(f"ablations: {trial.name}", flush=True)
        folder = train_trial(setting, trial, start, videos, clock)
        stage = trained(setting, trial, start, videos)
        if ruler is None:
            ruler = kept_ruler(setting, start, stage.codec, yardstick)
        pipeline = TrialPipeline(stage, start.spec, setting.fingerprint(trial))
        for cell in study.cells(trial):
            print(f"ablations: {cell.name}", flush=True)
            measure_cell(cell, study, pipeline, yardstick, folder / "cells", clock)
            publish(gather(setting, start, ruler), page)


def kept_ruler(
    setting: Setting, start: Start, codec: PictureCodec, yardstick: Yardstick
) -> dict[str, object]:
    """What the ruler says of clips with known faults, measured once for each setting."""
    study = setting.study
    parts = (study.prompts, study.rendered_clips, study.dims, study.bootstrap)
    path = start.work / f"ruler-{'-'.join(map(str, parts))}.json"
    if not path.exists():
        measured = measure_ruler(study, start.spec, codec, yardstick)
        write_atomically(path, lambda partial: _write(partial, json.dumps(measured, indent=1) + "\n"))
    known: dict[str, object] = json.loads(path.read_text())
    return known


def _write(path: Path, text: str) -> None:
    path.write_text(text)


def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Train and measure the ablations of docs/ablations.md.")
    parser.add_argument("--config", type=Path, default=Path(__file__).with_name("ablations.toml"))
    parser.add_argument("--model", type=Path, default=MICRO_WEIGHTS, help="weights that lend their stage 1")
    parser.add_argument("--work", type=Path, default=Path("var/ablations"), help="trainings, films and cells")
    parser.add_argument("--page", type=Path, default=Path("docs/ablations.md"), help="tables go in here")
    chosen = parser.parse_args(argv)
    try:
        run(chosen.config, chosen.model, chosen.work, chosen.page, time.monotonic)
    except (BadWeights, ValueError) as error:
        raise SystemExit(f"ablations: {error}") from error


if __name__ == "__main__":
    main()
