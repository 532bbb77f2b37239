"""The model into memory: the slow part of a worker's start."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from models.errors import BadWeights
from service.contracts.ids import is_name
from worker.device.accelerator import Accelerator, TorchAccelerator
from worker.device.plan import DeviceTooSmall, MemoryPlan, plan_memory
from worker.renderer import Renderer
from worker.settings import WorkerSettings

if TYPE_CHECKING:
    import torch

    from models.diffusers_picture import DiffusersPicture

CINEMA = "cinema.json"


class WrongSettings(Exception):
    """The settings name something that cannot be loaded; starting again will not help."""


@dataclass(frozen=True)
class Loaded:
    """What comes with torch, seconds after the process began. `samplers`: names, the default first."""

    renderer: Renderer
    samplers: Sequence[str]
    accelerator: Accelerator


def plan_of(settings: WorkerSettings) -> MemoryPlan:
    """How the model will lie in the device's memory. Raises WrongSettings, for one that does not fit too.

    Weights are counted from the files as they stand; `load` checks what is in them.
    """
    from models.memory import model_need, picture_model_need

    device = _device(settings)
    with _naming("weights", settings.weights):
        need = model_need(settings.weights, device, settings.model_name, settings.offered_sizes)
    if settings.picture_model is not None:
        with _naming("picture_model", settings.picture_model):
            a = need.activations
            largest = (0, 0) if a is None else (a.width, a.height)
            need = need.beside(picture_model_need(settings.picture_model, device, largest), "stage 1")
    try:
        return plan_memory(need, TorchAccelerator(device).memory(), settings.max_batch)
    except DeviceTooSmall as error:
        raise WrongSettings(str(error)) from error


def load(settings: WorkerSettings) -> Loaded:
    """The real model. Torch takes seconds to import: not before the probes answer. Raises WrongSettings.

    A folder with cinema.json is a MicroCinema; any other must be a pipeline of `models.video_families`.
    """
    device = _device(settings)
    painter = None
    if settings.picture_model is not None:
        with _naming("picture_model", settings.picture_model):
            from models.diffusers_picture import DiffusersPicture

            painter = DiffusersPicture.load(settings.picture_model, device)
    with _naming("weights", settings.weights):
        if (settings.weights / "model_index.json").is_file() and not (settings.weights / CINEMA).is_file():
            return _public_pipeline(settings, device, painter)
        return _microcinema(settings, device, painter)


def _device(settings: WorkerSettings) -> torch.device:
    from models.precision import choose_device

    try:
        return choose_device(settings.device)
    except ValueError as error:
        raise WrongSettings(str(error)) from error


def _microcinema(settings: WorkerSettings, device: torch.device, painter: DiffusersPicture | None) -> Loaded:
    from models.cinema import Cinema
    from models.sampler import SAMPLERS
    from models.stages import Stages, with_painter

    if settings.sizes is not None:
        raise WrongSettings(f"MICROCINEMA_SIZES {settings.sizes!r}: a MicroCinema's sizes are its own")
    cinema = Cinema.load(settings.weights, device=str(device))
    accelerator = TorchAccelerator(device)
    if painter is None and settings.model_name is None:
        return Loaded(cinema, tuple(SAMPLERS), accelerator)
    spec = replace(cinema.spec, name=settings.model_name or cinema.spec.name)
    if painter is None:
        return Loaded(Stages(spec, cinema, cinema), tuple(SAMPLERS), accelerator)
    return Loaded(Stages(with_painter(spec, painter), painter, cinema), tuple(SAMPLERS), accelerator)


def _public_pipeline(
    settings: WorkerSettings, device: torch.device, painter: DiffusersPicture | None
) -> Loaded:
    from models.diffusers_video import DiffusersVideo
    from models.stages import Stages, with_painter

    name = settings.model_name or settings.weights.resolve().name
    if not is_name(name):
        raise WrongSettings(
            f"the folder's name {name!r} cannot be a model's name (letters, digits and . _ + -, a letter or "
            "digit first, 64 at most): choose one with MICROCINEMA_MODEL_NAME"
        )
    video = DiffusersVideo.load(settings.weights, device, name=name, sizes=settings.offered_sizes)
    spec = video.spec if painter is None else with_painter(video.spec, painter)
    return Loaded(Stages(spec, painter, video), (video.sampler,), TorchAccelerator(device))


@contextmanager
def _naming(setting: str, folder: Path) -> Iterator[None]:
    """Errors about a folder, with the setting that names it in front."""
    try:
        yield
    except (BadWeights, ValueError) as error:
        raise WrongSettings(f"MICROCINEMA_{setting.upper()} {folder}: {error}") from error
