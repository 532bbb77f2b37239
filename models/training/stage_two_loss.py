"""What stage 2 is trained towards, for the micro model and for full size alike.

Shapes: clips z_0 (B, F, C, h, w), keyframes z^c (B, C, h, w), text (B, L, D), all float32. Everything random
comes from the generator passed in, on the CPU, in a fixed order: the device of the networks changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from models.noise_prior import with_appearance
from models.training.first_step import Example, FirstStep
from models.training.objective import Objective, weighted_error

Denoiser = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]  # z, z^c, t, text -> epsilon


@dataclass(frozen=True)
class Lesson:
    """What the network is shown, with the keyframe z^c (B, C, h, w), and the right answer; on the CPU."""

    example: Example
    z_c: Tensor

    def inputs(self, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        """z, z^c and t, on `device`."""
        return self.example.z.to(device), self.z_c.to(device), self.example.t.to(device)


class StageTwoLoss:
    """The paper's regression: eps = eps_n + lambda [z^c, ..., z^c], out of z_t, z^c and the text."""

    def __init__(self, objective: Objective) -> None:
        self.objective = objective
        self.schedule = objective.schedule()
        self._first = FirstStep(objective.start_share, objective.start_weight, objective.start_weight_most)

    def __call__(
        self, denoiser: Denoiser, clean: Tensor, z_c: Tensor, text: Tensor, source: torch.Generator
    ) -> Tensor:
        """Weighted error, a number. `clean` and `z_c` on the CPU, `text` where `denoiser` is."""
        return self.of(denoiser, self.lesson(clean, z_c, source), text)

    def lesson(self, clean: Tensor, z_c: Tensor, source: torch.Generator) -> Lesson:
        """Everything random of one batch."""
        z_c = z_c + self.objective.keyframe_noise * torch.randn(z_c.shape, generator=source)
        return Lesson(self.example(clean, z_c, source), z_c)

    def of(self, denoiser: Denoiser, lesson: Lesson, text: Tensor) -> Tensor:
        """Weighted error of a lesson, where `denoiser` and `text` are.

        Latents are a thousandth of what the networks hold, so they travel and the schedule stays.
        """
        predicted = denoiser(*lesson.inputs(text.device), text)
        target = lesson.example.target.to(text.device)
        return weighted_error(self.schedule, predicted, target, lesson.example.t, self.objective)

    def example(self, clean: Tensor, z_c: Tensor, source: torch.Generator) -> Example:
        """Noised clips with their targets."""
        plain = torch.randn(clean.shape, generator=source)
        noise = with_appearance(plain, z_c, self.objective.appearance_weight)
        t = torch.randint(self.objective.train_timesteps, (len(clean),), generator=source)
        ordinary = Example(self.schedule.noised(clean, noise, t), t, noise)
        return self._first.mixed(self.schedule, clean, z_c, plain, ordinary, source)
