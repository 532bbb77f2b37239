"""What the ablations compare: one training per trial, several sampled cells per training."""

import hashlib
from dataclasses import dataclass

from models.training.loop import Plan
from models.training.objective import Objective
from models.training.video_set import ClipSet

FULL = "denormalisation"  # the network that is shipped


@dataclass(frozen=True)
class Trial:
    """One training. path: what stands between the keyframe and the main network (`paths.PATHS`)."""

    path: str
    appearance_weight: float  # lambda

    @property
    def name(self) -> str:
        return f"{self.path}-lambda-{self.appearance_weight:g}"


@dataclass(frozen=True)
class Cell:
    """The films of one trial at one gamma."""

    trial: Trial
    gamma: float

    @property
    def name(self) -> str:
        return f"{self.trial.name}-gamma-{self.gamma:g}"


@dataclass(frozen=True)
class Study:
    """The grid, and how much of everything.

    lambdas and gammas: the noise prior's weight in training and in sampling, on the full network. paths:
    the networks that are compared at path_lambda and path_gamma. steps: optimiser steps of every
    training. A cell is `prompts` held-out prompts with `seeds` sampling seeds each. dims: directions
    that the Frechet distance sees; fewer than prompts and than rendered_clips, which it is fitted to.
    bootstrap: resamples behind an interval. batch: films made at once.
    """

    lambdas: tuple[float, ...]
    gammas: tuple[float, ...]
    paths: tuple[str, ...]
    path_lambda: float
    path_gamma: float
    steps: int
    prompts: int
    seeds: int
    rendered_clips: int
    dims: int
    bootstrap: int
    batch: int

    def __post_init__(self) -> None:
        for name in ("steps", "prompts", "seeds", "dims", "bootstrap", "batch"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
        for name in ("prompts", "rendered_clips"):
            if getattr(self, name) <= self.dims:
                raise ValueError(
                    f"{name} is {getattr(self, name)} and dims is {self.dims}; a Frechet distance needs "
                    f"more films than dimensions"
                )
        for name in ("lambdas", "gammas", "paths"):
            if not getattr(self, name):
                raise ValueError(f"{name} is empty; it must name at least 1")

    def trials(self) -> list[Trial]:
        """Every training once: the full network at each lambda, then the other paths."""
        wanted = [Trial(FULL, weight) for weight in self.lambdas]
        wanted += [Trial(path, self.path_lambda) for path in self.paths]
        return list(dict.fromkeys(wanted))

    def cells(self, trial: Trial) -> list[Cell]:
        """What is sampled from one training: the row of gammas, or path_gamma alone, or both in one."""
        gammas = list(self.gammas) if trial in self.noise_prior_trials() else []
        if trial in self.path_trials():
            gammas.append(self.path_gamma)
        return [Cell(trial, gamma) for gamma in dict.fromkeys(gammas)]

    def noise_prior_trials(self) -> list[Trial]:
        """The rows of the lambda and gamma grid."""
        return [Trial(FULL, weight) for weight in self.lambdas]

    def path_trials(self) -> list[Trial]:
        """The rows of the comparison of paths."""
        return [Trial(path, self.path_lambda) for path in self.paths]


@dataclass(frozen=True)
class Setting:
    """Everything but the trial that decides what a training makes; equal for all trials."""

    study: Study
    objective: Objective  # its appearance_weight is the trial's
    plan: Plan  # its minutes are not the budget: study.steps is
    clips: ClipSet
    start: str  # weight hash of the model that lends its first stage

    def fingerprint(self, trial: Trial) -> str:
        """Twelve digits that differ as soon as the training would."""
        parts = (self.study.steps, self.objective, self.plan, self.clips, self.start, trial)
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]
