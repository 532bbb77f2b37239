"""Classifier-free guidance on the text alone (Ho & Salimans 2022), inside an interval of noise levels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from models.sampler import Denoise

# (z, t, text) -> eps_hat; z (B, ...), text (B, L, D). The keyframe, when there is one, is bound inside:
# both branches see the same z^c, only the text is dropped.
TextDenoise = Callable[[Tensor, int, Tensor], Tensor]


@dataclass(frozen=True)
class Guidance:
    """eps = eps_uncond + scale (eps_text - eps_uncond) while `low` <= t/T <= `high`; eps_text outside.

    The interval is Kynkaanniemi et al. 2024: guidance helps in the middle, costs a second evaluation
    everywhere. `scale` 1 is the plain conditional model and never evaluates the unconditional one. It is one
    for the whole batch or one per sample; if any sample needs the second evaluation, all have it.
    """

    scale: float | tuple[float, ...] = 1.0
    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.low <= self.high <= 1.0:
            raise ValueError(f"guidance interval must be 0 <= low <= high <= 1, got {self.low}..{self.high}")

    def active(self, t: int, train_steps: int) -> bool:
        scales = self.scale if isinstance(self.scale, tuple) else (self.scale,)
        return any(scale != 1.0 for scale in scales) and self.low <= t / train_steps <= self.high

    def bind(self, denoise: TextDenoise, text: Tensor, empty: Tensor, train_steps: int) -> Denoise:
        """A `denoise(z, t)` for samplers; `text` and `empty` (B, L, D) are prompt and negative prompt.

        Both branches run as one batch of 2B (order: unconditional, conditional): one reading of the weights.
        """
        both = torch.cat([empty, text])

        def guided(z: Tensor, t: int) -> Tensor:
            if not self.active(t, train_steps):
                return denoise(z, t, text)
            without, with_text = denoise(torch.cat([z, z]), t, both).chunk(2)
            scale = torch.tensor(self.scale, device=z.device, dtype=z.dtype)
            return without + scale.view(-1, *[1] * (z.ndim - 1)) * (with_text - without)

        return guided
