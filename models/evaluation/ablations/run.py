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
from models.evaluation.ablations.cells import (
    TrialPipeline,
    Yardstick,
    cell_file,
    measure_cell,
    measure_ruler,
)
from models.evaluation.ablations.page import publish
from models.evaluation.ablations.paths import PATHS
from models.evaluation.ablations.results import gather
from models.evaluation.ablations.start import Start, open_clips, prepare
from models.evaluation.ablations.study import Cell, Setting, Study, Trial
from models.evaluation.ablations.trial_training import train_trial, trained, trial_folder
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


def run(config: Path, model: Path, work: Path, page: Path, clock: Clock, only: Sequence[str] = ()) -> None:
    """Everything that is still missing, trial by trial.

    only: names of trials and cells; nothing else is made, and the page is left to a run of the whole.
    """
    start = prepare(model, config, work)
    setting = read_setting(config, start)
    torch.set_num_threads(setting.plan.threads)
    study, videos = setting.study, open_clips(start, config)
    yardstick = Yardstick.of(study, start.spec)
    ruler = None if only else kept_ruler(setting, start, yardstick)
    for trial, cells in chosen_cells(study, only):
        print(f"ablations: {trial.name}", flush=True)
        missing = [cell for cell in cells if not is_measured(setting, trial, cell, start)]
        if missing:
            train_trial(setting, trial, start, videos, clock)
            stage = trained(setting, trial, start, videos)
            pipeline = TrialPipeline(stage, start.spec, setting.fingerprint(trial))
        for cell in missing:
            print(f"ablations: {cell.name}", flush=True)
            measure_cell(cell, study, pipeline, yardstick, cells_folder(setting, trial, start), clock)
            if ruler is not None:
                publish(gather(setting, start, ruler), page)
    if ruler is not None:
        publish(gather(setting, start, ruler), page)


def cells_folder(setting: Setting, trial: Trial, start: Start) -> Path:
    """Where a trial's measured cells are."""
    return trial_folder(setting, trial, start) / "cells"


def is_measured(setting: Setting, trial: Trial, cell: Cell, start: Start) -> bool:
    """Is the cell's file there? Then neither its training nor its weights are asked for."""
    folder = cells_folder(setting, trial, start)
    return cell_file(cell, setting.study, start.spec, setting.fingerprint(trial), folder).exists()


def chosen_cells(study: Study, only: Sequence[str]) -> list[tuple[Trial, list[Cell]]]:
    """Every trial with its cells, or those that `only` names; a name that there is not is a ValueError."""
    every = [(trial, study.cells(trial)) for trial in study.trials()]
    known = {trial.name for trial, _ in every} | {cell.name for _, cells in every for cell in cells}
    if unknown := sorted(set(only) - known):
        raise ValueError(f"only names {unknown}; there are {', '.join(sorted(known))}")
    if not only:
        return every
    wanted = [
        (trial, [cell for cell in cells if {cell.name, trial.name} & set(only)]) for trial, cells in every
    ]
    return [(trial, cells) for trial, cells in wanted if cells]


def kept_ruler(setting: Setting, start: Start, yardstick: Yardstick) -> dict[str, object]:
    """What the ruler says of clips with known faults, measured once for each setting."""
    study = setting.study
    parts = (study.prompts, study.rendered_clips, study.dims, study.bootstrap)
    path = start.work / f"ruler-{'-'.join(map(str, parts))}.json"
    if not path.exists():
        codec = PictureCodec.load(start.work / "stage1" / "vae")
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
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="NAME", help="trials and cells: processes can share a study"
    )
    chosen = parser.parse_args(argv)
    try:
        run(chosen.config, chosen.model, chosen.work, chosen.page, time.monotonic, chosen.only)
    except (BadWeights, ValueError) as error:
        raise SystemExit(f"ablations: {error}") from error


if __name__ == "__main__":
    main()
