"""Schedule and samplers against diffusers, guidance and the noise prior against their definitions."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler
from torch import Tensor

from models.guidance import Guidance
from models.noise_prior import with_appearance
from models.sampler import SAMPLERS, ddim, dpm_solver_pp_2m
from models.schedule import Schedule
from models.seeds import MAX_SEED, PICTURE_STREAM, STRAY_STREAM, VIDEO_STREAM, seeded_noise, stream_seed

BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def toy_network(z: Tensor, t: int) -> Tensor:
    """A deterministic stand-in for eps_hat that depends on both inputs, nonlinearly."""
    return torch.tanh(z * (0.3 + t / 1500)) + 0.1 * z.flip(-1)


def start() -> Tensor:
    return torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(9))


def test_alpha_bar_is_diffusers() -> None:
    assert torch.equal(Schedule().alpha_bar, DDPMScheduler(**BETAS).alphas_cumprod)


def test_forward_process_is_diffusers() -> None:
    z, noise, t = start(), start().flip(0), torch.tensor([0, 999])
    assert torch.allclose(Schedule().noised(z, noise, t), DDPMScheduler(**BETAS).add_noise(z, noise, t))


@pytest.mark.parametrize("steps", [1, 2, 7, 25, 50, 333])
def test_ddim_is_diffusers(steps: int) -> None:
    oracle = DDIMScheduler(**BETAS, clip_sample=False, set_alpha_to_one=False, steps_offset=1)
    oracle.set_timesteps(steps)
    z = start()
    for step, t in zip(ddim(toy_network, z, Schedule(), steps), oracle.timesteps, strict=True):
        z = oracle.step(toy_network(z, int(t)), t, z, eta=0.0).prev_sample
        assert torch.allclose(step.z, z, atol=1e-4, rtol=1e-4), step.index
    assert step.index == step.steps == steps


@pytest.mark.parametrize("steps", [1, 2, 3, 8, 14, 15, 25, 50])
def test_dpm_solver_is_diffusers(steps: int) -> None:
    oracle = DPMSolverMultistepScheduler(
        **BETAS, algorithm_type="dpmsolver++", solver_order=2, solver_type="midpoint"
    )
    oracle.set_timesteps(steps)
    assert Schedule().spread_steps(steps) == oracle.timesteps.tolist()
    z = start()
    for step, t in zip(dpm_solver_pp_2m(toy_network, z, Schedule(), steps), oracle.timesteps, strict=True):
        z = oracle.step(toy_network(z, int(t)), t, z).prev_sample
        assert torch.allclose(step.z, z, atol=1e-4, rtol=1e-4), step.index


@pytest.mark.parametrize("name", sorted(SAMPLERS))
def test_samplers_recover_a_gaussian_known_in_closed_form(name: str) -> None:
    """Data N(0, s^2) has eps_hat = sigma z / (alpha^2 s^2 + sigma^2): the ODE maps N(0, 1) to N(0, s^2)."""
    schedule, spread = Schedule(), 0.5

    def exact(z: Tensor, t: int) -> Tensor:
        bar = float(schedule.alpha_bar[t])
        return (1 - bar) ** 0.5 * z / (bar * spread**2 + 1 - bar)

    z = torch.randn(20_000, 1, generator=torch.Generator().manual_seed(4))
    *_, last = SAMPLERS[name](exact, z, schedule, 200)
    assert float(last.z.std()) == pytest.approx(spread, rel=0.05)


def test_steps_out_of_range_are_named() -> None:
    with pytest.raises(ValueError, match=r"steps must be 1\.\.999, got 0"):
        next(ddim(toy_network, start(), Schedule(), 0))


def test_closing_a_sampler_stops_the_network() -> None:
    calls = []

    def counted(z: Tensor, t: int) -> Tensor:
        calls.append(t)
        return toy_network(z, t)

    work = dpm_solver_pp_2m(counted, start(), Schedule(), 25)
    next(work)
    next(work)
    work.close()  # type: ignore[attr-defined]
    assert len(calls) == 2


@pytest.mark.parametrize("steps", [1, 2, 3, 8, 14, 25])
@pytest.mark.parametrize("name", sorted(SAMPLERS))
def test_a_run_split_behind_any_step_gives_the_bits_of_an_undisturbed_one(name: str, steps: int) -> None:
    sample, whole = SAMPLERS[name], list(SAMPLERS[name](toy_network, start(), Schedule(), steps))
    for stop in whole:
        called: list[int] = []

        def counted(z: Tensor, t: int, called: list[int] = called) -> Tensor:
            called.append(t)
            return toy_network(z, t)

        rest = list(sample(counted, stop, Schedule(), steps))
        assert [step.index for step in rest] == list(range(stop.index + 1, steps + 1))
        assert len(called) == steps - stop.index
        for again, before in zip(rest, whole[stop.index :], strict=True):
            assert torch.equal(again.z, before.z)
            assert torch.equal(again.x_0, before.x_0)


@pytest.mark.parametrize("name", sorted(SAMPLERS))
def test_a_step_of_a_run_of_another_length_is_no_start(name: str) -> None:
    step = next(SAMPLERS[name](toy_network, start(), Schedule(), 8))
    with pytest.raises(ValueError, match="a run of 9 steps cannot go on behind step 1 of a run of 8"):
        next(SAMPLERS[name](toy_network, step, Schedule(), 9))


def test_dpm_solver_needs_the_estimate_of_the_step_before() -> None:
    whole = list(dpm_solver_pp_2m(toy_network, start(), Schedule(), 8))
    forgetful = list(dpm_solver_pp_2m(toy_network, replace(whole[3], x_0=whole[2].x_0), Schedule(), 8))
    assert not torch.allclose(forgetful[-1].z, whole[-1].z, atol=1e-4)


def words(value: float) -> Tensor:
    return torch.full((2, 1, 1), value)


def by_text(z: Tensor, t: int, text: Tensor) -> Tensor:
    return z * text.reshape(-1, 1, 1, 1) + t / 1000


def test_guidance_is_its_formula_and_scale_one_never_asks_the_empty_prompt() -> None:
    z = start()
    guided = Guidance(scale=4.0).bind(by_text, words(2.0), words(0.5), 1000)
    expected = by_text(z, 500, words(0.5)) + 4.0 * (by_text(z, 500, words(2.0)) - by_text(z, 500, words(0.5)))
    assert torch.allclose(guided(z, 500), expected)
    batches = []

    def watched(z: Tensor, t: int, text: Tensor) -> Tensor:
        batches.append(len(z))
        return by_text(z, t, text)

    plain = Guidance(scale=1.0).bind(watched, words(2.0), words(0.5), 1000)
    assert torch.equal(plain(z, 500), by_text(z, 500, words(2.0)))
    assert batches == [2]
    whole = Guidance(scale=4).bind(by_text, words(2.0), words(0.5), 1000)  # as a person writes it in JSON
    assert torch.equal(whole(z, 500), guided(z, 500))


def test_guidance_interval_halves_the_batch_outside() -> None:
    batches = {}

    def watched(z: Tensor, t: int, text: Tensor) -> Tensor:
        batches[t] = len(z)
        return by_text(z, t, text)

    guided = Guidance(scale=3.0, low=0.2, high=0.8).bind(watched, words(2.0), words(0.5), 1000)
    for t in (100, 200, 800, 900):
        guided(start(), t)
    assert batches == {100: 2, 200: 4, 800: 4, 900: 2}
    with pytest.raises(ValueError, match="guidance interval"):
        Guidance(low=0.9, high=0.1)


def test_noise_prior_shifts_every_frame_by_the_keyframe() -> None:
    noise, z_c = torch.randn(2, 5, 4, 3, 3), torch.randn(2, 4, 3, 3)
    shifted = with_appearance(noise, z_c, 0.03)
    for frame in range(5):
        assert torch.allclose(shifted[:, frame] - noise[:, frame], 0.03 * z_c, atol=1e-6)
    assert with_appearance(noise, z_c, 0.0) is noise  # the plain case, bit for bit


def test_noise_of_a_seed_is_its_own() -> None:
    alone = seeded_noise([7], (3, 2), VIDEO_STREAM)
    among = seeded_noise([1, 7, MAX_SEED], (3, 2), VIDEO_STREAM)
    assert torch.equal(alone[0], among[1])
    assert not torch.equal(alone, seeded_noise([7], (3, 2), PICTURE_STREAM))
    with pytest.raises(ValueError, match=r"seed must be 0\.\.4294967295, got 4294967296"):
        seeded_noise([MAX_SEED + 1], (1,), VIDEO_STREAM)


@pytest.mark.parametrize("seed", [0, 7, MAX_SEED])
def test_each_stream_of_a_seed_starts_elsewhere_within_the_32_bits_that_torch_reads(seed: int) -> None:
    starts = [stream_seed(seed, stream) for stream in (PICTURE_STREAM, VIDEO_STREAM, STRAY_STREAM)]
    assert len(set(starts)) == 3
    assert max(starts) <= MAX_SEED
