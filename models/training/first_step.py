"""What the first step of sampling sees, shown in training.

Stable Diffusion's schedule ends at SNR 0.0047, so even the noisiest training clip gives itself away: over
16 frames two opposite motions are some 40 nats apart there, and a network that can read the motion off its
input never asks the text for it. Sampling starts at noise that says nothing (Lin et al. 2023 describe the
same flaw for the brightness of pictures; their cure, zero terminal SNR, rules out epsilon prediction).
Cure: a share of the examples is the starting noise of sampling itself, eps_n + gamma z^c, with the target
that leads from it to the clip, eps = (z - alpha_t z_0) / sigma_t.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from models.noise_prior import with_appearance
from models.schedule import Schedule

EARLIEST = 0.1  # of the schedule: where samplers of ten steps and more may start


@dataclass(frozen=True)
class Example:
    """Input z (B, F, C, H, W) at training steps t (B,), and the epsilon that it should be answered with."""

    z: Tensor
    t: Tensor
    target: Tensor


@dataclass(frozen=True)
class FirstStep:
    """share: of examples, in [0, 1]. gamma: the noise prior's weight in sampling's start.

    most: with it, every example's gamma is drawn evenly from `gamma` to `most`: no gamma is favoured then.
    """

    share: float
    gamma: float
    most: float = 0.0

    def mixed(
        self,
        schedule: Schedule,
        clean: Tensor,
        z_c: Tensor,
        noise: Tensor,
        ordinary: Example,
        source: torch.Generator,
    ) -> Example:
        """`ordinary` with a share of its rows replaced; clean and noise (B, F, C, H, W), z_c (B, C, H, W).

        Steps are drawn towards the end of the schedule, where most samplers start.
        """
        batch = len(clean)
        starts = torch.rand(batch, generator=source) < self.share
        before_end = EARLIEST * schedule.train_steps * torch.rand(batch, generator=source) ** 2
        t = torch.where(starts, schedule.train_steps - 1 - before_end.long(), ordinary.t)
        z = with_appearance(noise, z_c, self.gamma)
        if self.most > self.gamma:
            more = (self.most - self.gamma) * torch.rand(batch, 1, 1, 1, generator=source)
            z = with_appearance(z, more * z_c, 1.0)
        bar = schedule.alpha_bar[t].view(-1, *[1] * (clean.ndim - 1))
        target = (z - bar.sqrt() * clean) / (1 - bar).sqrt()
        rows = starts.view_as(bar)
        return Example(torch.where(rows, z, ordinary.z), t, torch.where(rows, target, ordinary.target))
