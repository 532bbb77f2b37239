"""Deterministic samplers, written as generators that yield after every denoising step.

Progress, cancelling and previews come free: the caller looks between two steps, and closing the
generator stops the work. A sampler knows `denoise(z, t) -> eps_hat` and nothing of networks, guidance
or precision. Both solve the same ODE, so the Appearance Noise Prior needs nothing here: eps_hat already
contains it. (Samplers that add fresh noise would dilute it; there are none.)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from torch import Tensor

from models.schedule import Schedule

Denoise = Callable[[Tensor, int], Tensor]  # (z_t, t) -> eps_hat, both like z


@dataclass(frozen=True)
class SampleStep:
    """What is known after a finished step."""

    index: int  # 1 for the first finished step
    steps: int
    z: Tensor  # the latents to go on from; after the last step, the result
    x_0: Tensor  # this step's estimate of the clean latents


def ddim(denoise: Denoise, z: Tensor, schedule: Schedule, steps: int) -> Iterator[SampleStep]:
    """DDIM with eta 0 (Song et al. 2021, eq. 12), spaced and ended as Stable Diffusion does it.

    The last step goes to abar_0, not to 1 (`set_alpha_to_one=False`).
    """
    timesteps = schedule.leading_steps(steps)
    stride = schedule.train_steps // steps
    for index, t in enumerate(timesteps, start=1):
        bar = float(schedule.alpha_bar[t])
        bar_next = float(schedule.alpha_bar[max(t - stride, 0)])
        eps = denoise(z, t)
        x_0 = (z - math.sqrt(1 - bar) * eps) / math.sqrt(bar)  # "predicted x_0"
        z = math.sqrt(bar_next) * x_0 + math.sqrt(1 - bar_next) * eps  # + "direction pointing to x_t"
        yield SampleStep(index, steps, z, x_0)


def dpm_solver_pp_2m(denoise: Denoise, z: Tensor, schedule: Schedule, steps: int) -> Iterator[SampleStep]:
    """DPM-Solver++ 2M (Lu et al. 2022, algorithm 2), midpoint form, first order at both ends.

    In terms of the half log-SNR lambda = log(alpha/sigma) with h = lambda_next - lambda:
    z_next = (sigma_next/sigma) z - alpha_next (e^-h - 1) D, where D is x_0, extrapolated from the last two.
    """
    noise_ratios = [_noise_ratio(schedule, t) for t in schedule.spread_steps(steps)] + [0.0]
    x_0_before: Tensor | None = None
    h_before = 0.0
    for index, t in enumerate(schedule.spread_steps(steps), start=1):
        ratio, ratio_next = noise_ratios[index - 1], noise_ratios[index]
        alpha, alpha_next = 1 / math.hypot(1, ratio), 1 / math.hypot(1, ratio_next)
        sigma, sigma_next = ratio * alpha, ratio_next * alpha_next
        x_0 = (z - sigma * denoise(z, t)) / alpha
        last = index == steps
        # e^-h = (sigma_next alpha)/(alpha_next sigma): no log of zero when the last ratio is 0
        decay = ratio_next / ratio
        h = math.inf if last else -math.log(decay)
        estimate = x_0
        if x_0_before is not None and not last:
            r = h_before / h
            estimate = x_0 + (x_0 - x_0_before) / (2 * r)
        z = (sigma_next / sigma) * z - alpha_next * (decay - 1) * estimate
        x_0_before, h_before = x_0, h
        yield SampleStep(index, steps, z, x_0)


def _noise_ratio(schedule: Schedule, t: int) -> float:
    """sigma_t / alpha_t."""
    bar = float(schedule.alpha_bar[t])
    return math.sqrt((1 - bar) / bar)


Sampler = Callable[[Denoise, Tensor, Schedule, int], Iterator[SampleStep]]

SAMPLERS: dict[str, Sampler] = {"dpm++2m": dpm_solver_pp_2m, "ddim": ddim}
