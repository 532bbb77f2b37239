"""Imported by the fork server alone: loads and runs a small model once, so that all it needs is imported.

Half of diffusers and transformers is imported only when a model asks for it. Done here it is done once; done
in each forked worker it would take longer than everything else.
"""

import tempfile
from pathlib import Path

import torch

from models.cinema import Cinema
from models.nano import write_nano


def load_once() -> None:
    torch.set_num_threads(1)  # a second thread would not survive the fork
    with tempfile.TemporaryDirectory() as folder:
        write_nano(Path(folder) / "nano")
        Cinema.load(Path(folder) / "nano", device="cpu").warm_up()


load_once()
