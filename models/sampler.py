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
    """What is known after a finished step, and all that the same sampler needs to go on from there."""

    index: int  # 1 for the first finished step
    steps: int
    z: Tensor  # the latents to go on from; after the last step, the result
    x_0: Tensor  # this step's estimate of the clean latents


Start = Tensor | SampleStep
"""The noise that a run begins with, or a step of an earlier run: only the steps behind it are taken."""


def ddim(denoise: Denoise, start: Start, schedule: Schedule, steps: int) -> Iterator[SampleStep]:
    """DDIM with eta 0 (Song et al. 2021, eq. 12), spaced and ended as Stable Diffusion does it.

    The last step goes to abar_0, not to 1 (`set_alpha_to_one=False`). Raises ValueError for `steps` out of
    range, or for a start of a run of another number of steps.
    """
    done, z, _ = _stand(start, steps)
    timesteps = schedule.leading_steps(steps)
    stride = schedule.train_steps // steps
    for index, t in enumerate(timesteps[done:], start=done + 1):
        bar = float(schedule.alpha_bar[t])
        bar_next = float(schedule.alpha_bar[max(t - stride, 0)])
        eps = denoise(z, t)
        x_0 = (z - math.sqrt(1 - bar) * eps) / math.sqrt(bar)  # "predicted x_0"
        z = math.sqrt(bar_next) * x_0 + math.sqrt(1 - bar_next) * eps  # + "direction pointing to x_t"
        yield SampleStep(index, steps, z, x_0)


def dpm_solver_pp_2m(denoise: Denoise, start: Start, schedule: Schedule, steps: int) -> Iterator[SampleStep]:
    """DPM-Solver++ 2M (Lu et al. 2022, algorithm 2), midpoint form, first order at both ends.

    In terms of the half log-SNR lambda = log(alpha/sigma) with h = lambda_next - lambda:
    z_next = (sigma_next/sigma) z - alpha_next (e^-h - 1) D, where D is x_0, extrapolated from the last two.
    Raises ValueError as `ddim` does.
    """
    done, z, x_0_before = _stand(start, steps)
    timesteps = schedule.spread_steps(steps)
    noise_ratios = [_noise_ratio(schedule, t) for t in timesteps] + [0.0]
    for index, t in enumerate(timesteps[done:], start=done + 1):
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
            h_before = -math.log(ratio / noise_ratios[index - 2])
            r = h_before / h
            estimate = x_0 + (x_0 - x_0_before) / (2 * r)
        z = (sigma_next / sigma) * z - alpha_next * (decay - 1) * estimate
        x_0_before = x_0
        yield SampleStep(index, steps, z, x_0)


def _stand(start: Start, steps: int) -> tuple[int, Tensor, Tensor | None]:
    """Finished steps, the latents to go on from, and the last estimate of the clean ones, if there is one."""
    if not isinstance(start, SampleStep):
        return 0, start, None
    if start.steps != steps or not 1 <= start.index <= steps:
        raise ValueError(
            f"a run of {steps} steps cannot go on behind step {start.index} of a run of {start.steps}"
        )
    return start.index, start.z, start.x_0


def _noise_ratio(schedule: Schedule, t: int) -> float:
    """sigma_t / alpha_t."""
    bar = float(schedule.alpha_bar[t])
    return math.sqrt((1 - bar) / bar)


Sampler = Callable[[Denoise, Start, Schedule, int], Iterator[SampleStep]]

SAMPLERS: dict[str, Sampler] = {"dpm++2m": dpm_solver_pp_2m, "ddim": ddim}
