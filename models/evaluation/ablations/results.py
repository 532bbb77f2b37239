"""Everything that is measured so far, as one file; what is not measured is not in it."""

import json
from dataclasses import asdict
from typing import Any

from models.evaluation.ablations.cells import cell_file
from models.evaluation.ablations.start import Start
from models.evaluation.ablations.study import Setting
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
        "cells": cells,
    }
