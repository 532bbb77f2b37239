"""The model into memory: the slow part of a worker's start."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from models.errors import BadWeights
from worker.accelerator import Accelerator, TorchAccelerator
from worker.renderer import Renderer
from worker.settings import WorkerSettings


class WrongSettings(Exception):
    """The settings name something that cannot be loaded; starting again will not help."""


@dataclass(frozen=True)
class Loaded:
    """What comes with torch, seconds after the process began. `samplers`: names, the default first."""

    renderer: Renderer
    samplers: Sequence[str]
    accelerator: Accelerator


def load(settings: WorkerSettings) -> Loaded:
    """The real model. Torch takes seconds to import: not before the probes answer. Raises WrongSettings."""
    from models.cinema import Cinema
    from models.sampler import SAMPLERS

    try:
        renderer = Cinema.load(settings.weights, device=settings.device)
    except (BadWeights, ValueError) as error:
        raise WrongSettings(f"weights {settings.weights} on device {settings.device!r}: {error}") from error
    return Loaded(renderer, tuple(SAMPLERS), TorchAccelerator())
