"""What a scheduler of diffusers takes the clean latents to be behind its newest step: its `step` is watched.

Nothing of it is changed: `step` is called as it was, and what it was given and returned is kept until the
next call. (`callback_on_step_end` would not do: I2VGen-XL, ModelScope and PixArt have none.)
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class _Step:
    """One call of `step`: the network's output, the noisy sample, t, sigmas[i] (None: there are none)."""

    output: Tensor
    sample: Tensor
    t: Any
    sigma: float | None
    returned: Any


def _returned(_scheduler: Any, step: _Step) -> Tensor:
    x_0: Tensor = step.returned[1] if isinstance(step.returned, tuple) else step.returned.pred_original_sample
    return x_0


def _straight(_scheduler: Any, step: _Step) -> Tensor:
    """Flow matching: x_t = (1 - sigma) x_0 + sigma eps and v = eps - x_0, so x_0 = x_t - sigma v."""
    return step.sample.float() - _sigma(step) * step.output.float()


def _by_sigma(scheduler: Any, step: _Step) -> Tensor:
    """DPM-Solver and its kin: sigmas are noise ratios, or flow matching's own."""
    if scheduler.config.prediction_type == "flow_prediction":
        return _straight(scheduler, step)
    alpha, sigma = scheduler._sigma_to_alpha_sigma_t(scheduler.sigmas.new_tensor(_sigma(step)))
    return _denoised(scheduler, step, float(alpha), float(sigma))


def _by_alpha_bar(scheduler: Any, step: _Step) -> Tensor:
    bar = float(scheduler.alphas_cumprod[int(step.t)])
    return _denoised(scheduler, step, bar**0.5, (1 - bar) ** 0.5)


def _denoised(scheduler: Any, step: _Step, alpha: float, sigma: float) -> Tensor:
    """x_0 of x_t = alpha x_0 + sigma eps, where the network says eps, v = alpha eps - sigma x_0, or x_0."""
    said, x, output = scheduler.config.prediction_type, step.sample.float(), step.output.float()
    if said == "epsilon":
        return (x - sigma * output) / alpha
    if said == "v_prediction":
        return alpha * x - sigma * output
    if said == "sample":
        return output
    raise ValueError(f"prediction_type {said!r} must be one of epsilon, v_prediction, sample")


def _sigma(step: _Step) -> float:
    if step.sigma is None:
        raise ValueError("the scheduler does not say which of its steps it took")
    return step.sigma


_ESTIMATES: Mapping[str, Callable[[Any, _Step], Tensor]] = MappingProxyType(
    {
        **dict.fromkeys(
            (
                "CogVideoXDDIMScheduler",
                "CogVideoXDPMScheduler",
                "DDIMScheduler",
                "DDPMScheduler",
                "EulerAncestralDiscreteScheduler",
                "EulerDiscreteScheduler",
                "HeunDiscreteScheduler",
            ),
            _returned,
        ),
        "FlowMatchEulerDiscreteScheduler": _straight,
        **dict.fromkeys(
            ("DEISMultistepScheduler", "DPMSolverMultistepScheduler", "UniPCMultistepScheduler"), _by_sigma
        ),
        "PNDMScheduler": _by_alpha_bar,
    }
)
"""By the scheduler's class: whether it says its estimate itself, and how else it follows from the step."""


class CleanEstimate:
    """Of one run of a pipeline with `scheduler`, which must be one of those `known` here."""

    def __init__(self, scheduler: Any) -> None:
        self._scheduler = scheduler
        self._step: _Step | None = None

    @staticmethod
    def known(scheduler: object) -> bool:
        """Whether its estimate can be told; of a scheduler that is not in the table it is not guessed."""
        return type(scheduler).__name__ in _ESTIMATES

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Within this block `step` of the scheduler is listened to."""
        step = self._scheduler.step
        takes = inspect.signature(step)

        @functools.wraps(step)  # pipelines ask its signature which arguments it takes
        def listened(*positional: Any, **named: Any) -> Any:
            given = takes.bind(*positional, **named).arguments
            returned = step(*positional, **named)
            index, sigmas = (
                getattr(self._scheduler, "step_index", None),
                self._scheduler.__dict__.get("sigmas"),
            )
            sigma = None if index is None or sigmas is None else float(sigmas[index - 1])
            self._step = _Step(given["model_output"], given["sample"], given["timestep"], sigma, returned)
            return returned

        self._scheduler.step = listened
        try:
            yield
        finally:
            del self._scheduler.step
            self._step = None

    def newest(self) -> Tensor | None:
        """As the scheduler's latents lie; None before the first step."""
        return (
            None
            if self._step is None
            else _ESTIMATES[type(self._scheduler).__name__](self._scheduler, self._step)
        )
