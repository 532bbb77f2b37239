"""Checkpoints: written whole or not at all, the last few kept, and refused by a run that is another.

A checkpoint holds the trained weights, their average, the optimiser's state and the number of finished steps.
There is no generator and no place in the data to be saved: noise, captions and clips are functions of seed,
process and step. What they are functions of stands in the checkpoint as well, and must not change.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from models.training.loop import write_atomically


class OtherRun(Exception):
    """A checkpoint that belongs to another run than this one; the sentence says in what they differ."""


@dataclass(frozen=True)
class Identity:
    """What decides which clips, noise and weights a step sees. data: the source's digest."""

    processes: int
    batch: int
    accumulate: int
    seed: int
    frames: int
    fps: int
    width: int
    height: int
    optimizer: str
    freeze_spatial: bool
    data: str

    def refuse(self, stored: Mapping[str, object], path: Path) -> None:
        """Raise OtherRun unless a checkpoint with this identity is one of this run."""
        for name, value in asdict(self).items():
            if stored.get(name) != value:
                raise OtherRun(
                    f"{path} was written with {name} = {stored.get(name)!r} and this run has {value!r}: it "
                    "would go on with other clips or weights. Put it back as it was, or begin a new run from "
                    "the model of this one (another --work, [start] folder)"
                )


class Checkpoints:
    """The checkpoints of one run, in one folder; `keep` of them stay."""

    def __init__(self, folder: Path, keep: int) -> None:
        self.folder, self.keep = folder, keep

    def paths(self) -> list[Path]:
        """Oldest first."""
        return sorted(self.folder.glob("step-*.ckpt"))

    def save(self, step: int, state: Mapping[str, Any], identity: Identity) -> Path:
        """Write one, then remove those that are too many."""
        path = self.folder / f"step-{step:09d}.ckpt"
        whole = {**state, "step": step, "identity": asdict(identity)}
        write_atomically(path, lambda partial: torch.save(whole, partial))
        for old in self.paths()[: -self.keep]:
            old.unlink()
        return path

    def last(self, identity: Identity) -> dict[str, Any] | None:
        """The newest one, on the CPU; None if there is none. Never unpickles. Raises OtherRun."""
        paths = self.paths()
        if not paths:
            return None
        state: dict[str, Any] = torch.load(paths[-1], weights_only=True, map_location="cpu", mmap=True)
        identity.refuse(state["identity"], paths[-1])
        return state
