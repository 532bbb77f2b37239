"""Everything that is measured so far, as one file; what is not measured is not in it."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from models.evaluation.ablations.cells import cell_file
from models.evaluation.ablations.frechet import Measured
from models.evaluation.ablations.start import Start
from models.evaluation.ablations.study import FULL, Setting, Study
from models.evaluation.ablations.trial_training import RECORD, read_record, trial_folder

Results = dict[str, Any]


def gather(setting: Setting, start: Start, ruler: dict[str, object]) -> Results:
    """Read the finished trainings and cells of this setting.

    Raises ValueError when two trainings began with different weights: they would not compare.
    """
    trials, cells, digests = [], [], set()
    study = setting.study
    for trial in study.trials():
        folder = trial_folder(setting, trial, start)
        if not (folder / RECORD).exists():
            continue
        record = asdict(read_record(folder))
        digests.add(record.pop("start"))
        trials.append(record)
        for cell in study.cells(trial):
            path = cell_file(cell, study, start.spec, setting.fingerprint(trial), folder / "cells")
            if path.exists():
                cells.append(json.loads(path.read_text()))
    if len(digests) > 1:
        raise ValueError(f"trainings began with {len(digests)} different sets of weights; there must be 1")
    planned = sum(len(study.cells(trial)) for trial in study.trials())
    return {
        "start": setting.start,
        "start_weights": next(iter(digests), None),
        "study": asdict(study),
        "planned_trials": len(study.trials()),
        "planned_cells": planned,
        "ruler": ruler,
        "trials": trials,
        "cells": compared(cells, study),
    }


def compared(cells: Sequence[Results], study: Study) -> list[Results]:
    """The cells, each with its difference from two others; None where that other is not measured yet.

    from_plain: from no prior at all, lambda 0 and gamma 0. from_full: from the full network at path_lambda
    and path_gamma. All cells ask the same prompts, so the differences are surer than the distances.
    """
    measured = {
        (cell["path"], cell["lambda"], cell["gamma"]): Measured(
            cell["distance"]["value"], tuple(cell["draws"])
        )
        for cell in cells
    }
    others = {
        "from_plain": measured.get((FULL, 0.0, 0.0)),
        "from_full": measured.get((FULL, study.path_lambda, study.path_gamma)),
    }
    rows = []
    for cell, own in zip(cells, measured.values(), strict=True):
        differences = {
            name: None if other is None else own.minus(other).as_json() for name, other in others.items()
        }
        rows.append({**{name: value for name, value in cell.items() if name != "draws"}, **differences})
    return rows
