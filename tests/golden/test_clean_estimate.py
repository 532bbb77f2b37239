"""The estimate of the clean latents: of a network that knows them it is they, whatever the scheduler."""

from __future__ import annotations

from typing import Any

import diffusers
import pytest
import torch

from models.clean_estimate import CleanEstimate

BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
SCHEDULERS: dict[str, Any] = {
    "ddim": diffusers.DDIMScheduler(**BETAS, clip_sample=False),
    "ddim v": diffusers.DDIMScheduler(**BETAS, clip_sample=False, prediction_type="v_prediction"),
    "ddpm": diffusers.DDPMScheduler(**BETAS, clip_sample=False),
    "cogvideox ddim": diffusers.CogVideoXDDIMScheduler(prediction_type="v_prediction"),
    "pndm": diffusers.PNDMScheduler(**BETAS, skip_prk_steps=True, steps_offset=1),
    "pndm v": diffusers.PNDMScheduler(**BETAS, skip_prk_steps=True, prediction_type="v_prediction"),
    "euler": diffusers.EulerDiscreteScheduler(**BETAS),
    "euler ancestral": diffusers.EulerAncestralDiscreteScheduler(**BETAS),
    "heun": diffusers.HeunDiscreteScheduler(**BETAS),
    "dpm++": diffusers.DPMSolverMultistepScheduler(**BETAS),
    "dpm++ v": diffusers.DPMSolverMultistepScheduler(**BETAS, prediction_type="v_prediction"),
    "dpm": diffusers.DPMSolverMultistepScheduler(
        **BETAS, algorithm_type="dpmsolver", final_sigmas_type="sigma_min"
    ),
    "deis": diffusers.DEISMultistepScheduler(**BETAS),
    "unipc": diffusers.UniPCMultistepScheduler(**BETAS),
    "unipc flow": diffusers.UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
    ),
    "flow": diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
}


def weights(scheduler: Any, t: Any) -> tuple[float, float]:
    """alpha and sigma of x_t = alpha x_0 + sigma eps, out of the scheduler's own way of adding noise."""
    add: Any = getattr(scheduler, "add_noise", None)
    if add is None:
        return (
            float(scheduler.scale_noise(torch.ones(1), t[None], torch.zeros(1))),
            float(scheduler.scale_noise(torch.zeros(1), t[None], torch.ones(1))),
        )
    zero, one = torch.zeros(1), torch.ones(1)
    return float(add(one, zero, t[None])), float(add(zero, one, t[None]))


def told(scheduler: Any, x: Any, x_0: Any, t: Any) -> Any:
    """What a network says that knows x_0."""
    alpha, sigma = weights(scheduler, t)
    eps = (x - alpha * x_0) / sigma
    if isinstance(scheduler, diffusers.FlowMatchEulerDiscreteScheduler):
        return eps - x_0
    said = scheduler.config.prediction_type
    return {"epsilon": eps, "v_prediction": alpha * eps - sigma * x_0, "flow_prediction": eps - x_0}[said]


@pytest.mark.parametrize("name", SCHEDULERS)
def test_of_a_network_that_knows_the_clean_latents_it_is_they_at_every_step(name: str) -> None:
    scheduler = SCHEDULERS[name]
    assert CleanEstimate.known(scheduler)
    scheduler.set_timesteps(6)
    generator = torch.Generator().manual_seed(0)
    x_0, x = torch.randn(2, 1, 4, 6, 6, generator=generator)
    x = x * scheduler.init_noise_sigma if hasattr(scheduler, "init_noise_sigma") else x
    estimate = CleanEstimate(scheduler)
    with estimate.watching():
        assert estimate.newest() is None
        for t in scheduler.timesteps:
            x = scheduler.step(told(scheduler, x, x_0, t), t, x, return_dict=False)[0]
            newest = estimate.newest()
            assert newest is not None
            torch.testing.assert_close(newest, x_0, atol=2e-3, rtol=1e-3)
    assert estimate.newest() is None


def test_a_scheduler_that_is_not_in_the_table_is_not_guessed() -> None:
    assert not CleanEstimate.known(diffusers.TCDScheduler())
