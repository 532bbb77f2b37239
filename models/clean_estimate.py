"""What a scheduler of diffusers takes the clean latents to be, behind each of its steps.

No pipeline tells it: most keep it to themselves, and only some have a callback at their steps. Every one of
them calls `scheduler.step`, which is therefore heard here, and changed in nothing.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class _Step:
    """One call of `scheduler.step` and what it answered: its new sample and, of some, the clean one."""

    arguments: tuple[Any, ...]
    answer: Any


class ListenedScheduler:
    """Remembers the last step of a scheduler; its tensors are those of the pipeline, none is copied."""

    def __init__(self, scheduler: Any) -> None:
        self._scheduler = scheduler
        self._last: _Step | None = None

    @contextmanager
    def heard(self) -> Iterator[None]:
        """While a pipeline runs. Its scheduler steps as ever."""
        step = self._scheduler.step

        @functools.wraps(step)  # pipelines ask it for its signature
        def listened(*arguments: Any, **named: Any) -> Any:
            answer = step(*arguments, **named)
            self._last = _Step(arguments, answer)
            return answer

        self._scheduler.step = listened
        try:
            yield
        finally:
            del self._scheduler.step  # the class's own again
            self._last = None

    def clean(self) -> Tensor | None:
        """The estimate in the shape in which the scheduler was given its sample; None where there is none.

        None before the first step, and of schedulers that neither tell it nor are known here.
        """
        if self._last is None:
            return None
        answer = self._last.answer
        new, *others = answer.values() if isinstance(answer, dict) else answer
        if others and isinstance(others[0], Tensor) and others[0].shape == new.shape:
            return others[0]  # DDIM, Euler, Heun, CogVideoX's: `pred_original_sample`
        if kept := _kept_by_multistep(self._scheduler):
            return kept[-1]
        output, timestep, sample = self._last.arguments[:3]
        return _computed(self._scheduler, output, timestep, sample)


def _kept_by_multistep(scheduler: Any) -> list[Tensor]:
    """DPM-Solver++ and UniPC go by their last estimates of clean latents, and so keep them."""
    predicts = getattr(scheduler.config, "predict_x0", False) or str(
        getattr(scheduler.config, "algorithm_type", "")
    ).endswith("dpmsolver++")
    return [kept for kept in getattr(scheduler, "model_outputs", ()) if kept is not None] if predicts else []


def _computed(scheduler: Any, output: Tensor, timestep: Any, sample: Tensor) -> Tensor | None:
    """By the formula of the scheduler's kind, of what it was given."""
    kind = type(scheduler).__name__
    if kind == "FlowMatchEulerDiscreteScheduler":  # z_t = (1 - sigma) z + sigma eps, velocity eps - z
        sigma = scheduler.sigmas[scheduler.step_index - 1].to(sample.device)
        return sample - sigma * output
    if kind == "PNDMScheduler":
        bar = scheduler.alphas_cumprod[torch.as_tensor(timestep).long().cpu()].to(sample.device, sample.dtype)
        if scheduler.config.prediction_type == "v_prediction":
            return bar.sqrt() * sample - (1 - bar).sqrt() * output
        return (sample - (1 - bar).sqrt() * output) / bar.sqrt()
    return None
