"""The noise schedule: how much signal and noise a latent holds at training step t.

z_t = alpha_t z_0 + sigma_t eps,   alpha_t = sqrt(abar_t),   sigma_t = sqrt(1 - abar_t)
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True)
class Schedule:
    """Stable Diffusion's "scaled linear" schedule: sqrt(beta) runs linearly (Rombach et al. 2022).

    Kept in float32 on the CPU, as diffusers keeps it: the values enter the loop as Python numbers, so
    that no step has to wait for the GPU.
    """

    beta_start: float = 0.00085
    beta_end: float = 0.012
    train_steps: int = 1000

    @cached_property
    def alpha_bar(self) -> Tensor:
        """Cumulative product of 1 - beta, (train_steps,)."""
        start, end = self.beta_start**0.5, self.beta_end**0.5
        betas = torch.linspace(start, end, self.train_steps, dtype=torch.float32) ** 2
        return torch.cumprod(1.0 - betas, dim=0)

    def noised(self, z_0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """z_t of the forward process (Ho et al. 2020, eq. 4); z_0 and noise (B, ...), t (B,)."""
        bar = self.alpha_bar.to(z_0.device)[t].reshape(-1, *[1] * (z_0.ndim - 1))
        return bar.sqrt() * z_0 + (1 - bar).sqrt() * noise

    def leading_steps(self, steps: int, offset: int = 1) -> list[int]:
        """`steps` training steps, evenly spaced from the clean end, descending: DDIM in Stable Diffusion."""
        self._check(steps)
        stride = self.train_steps // steps
        return [i * stride + offset for i in reversed(range(steps))]

    def spread_steps(self, steps: int) -> list[int]:
        """`steps` training steps spread over the whole range, starting at pure noise: DPM-Solver++."""
        self._check(steps)
        grid = torch.linspace(0, self.train_steps - 1, steps + 1, dtype=torch.float64).round()
        return [int(t) for t in grid.flip(0)[:-1]]

    def _check(self, steps: int) -> None:
        if not 1 <= steps < self.train_steps:
            raise ValueError(f"steps must be 1..{self.train_steps - 1}, got {steps}")
