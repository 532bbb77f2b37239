"""Imported by the fork server alone: plans, loads and runs a small model once, as a worker would.

Half of diffusers and transformers is imported only when a model asks for it. Done here it is done once; done
in each forked worker it would take longer than everything else.
"""

import tempfile
from pathlib import Path

import torch

from models.nano import write_nano
from worker.loading import load, plan_of
from worker.settings import WorkerSettings


def load_once() -> None:
    torch.set_num_threads(1)  # a second thread would not survive the fork
    with tempfile.TemporaryDirectory() as folder:
        write_nano(Path(folder))
        settings = WorkerSettings(weights=Path(folder), device="cpu")
        plan_of(settings)
        load(settings).renderer.warm_up()


load_once()
