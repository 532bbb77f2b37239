"""Gradient checkpointing changes what is kept in memory, and nothing else."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from models.appearnet import AppearNet
from models.denoiser import VideoDenoiser
from models.tensor_peak import tensor_peak
from models.unet import InflatedUNet, is_added

Networks = tuple[InflatedUNet, AppearNet]


@pytest.fixture
def denoiser(trained: Networks) -> VideoDenoiser:
    main, appearnet = trained
    for name, weight in main.named_parameters():
        weight.requires_grad_(is_added(name))
    appearnet.requires_grad_(True)
    return VideoDenoiser(main, appearnet)


def recompute(denoiser: VideoDenoiser, on: bool) -> None:
    denoiser.main.recompute = on
    denoiser.appearnet.recompute = on  # type: ignore[assignment]


def gradients(denoiser: VideoDenoiser, clip) -> dict[str, torch.Tensor]:
    denoiser.zero_grad()
    denoiser(clip.z, clip.z_c, clip.t, clip.text).square().mean().backward()
    return {name: weight.grad for name, weight in denoiser.named_parameters() if weight.grad is not None}


def test_gradients_are_the_same_with_and_without(denoiser: VideoDenoiser, clip) -> None:
    plain = {name: grad.clone() for name, grad in gradients(denoiser, clip).items()}
    recompute(denoiser, True)
    again = gradients(denoiser, clip)
    assert again.keys() == plain.keys()
    assert len(plain) > 100
    for name, grad in plain.items():
        torch.testing.assert_close(again[name], grad, rtol=1e-5, atol=1e-7, msg=name)
    assert max(float(grad.abs().max()) for grad in plain.values()) > 1e-3


def test_every_block_runs_a_second_time_and_only_where_gradients_are_wanted(
    denoiser: VideoDenoiser, clip
) -> None:
    calls = 0

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1

    convs = [m for n, m in denoiser.named_modules() if isinstance(m, nn.Conv2d) and n.endswith("conv1")]
    for conv in convs:
        conv.register_forward_hook(count)
    recompute(denoiser, True)
    gradients(denoiser, clip)
    assert calls == 2 * len(convs) > 0
    calls = 0
    with torch.no_grad():
        denoiser(clip.z, clip.z_c, clip.t, clip.text)
    assert calls == len(convs)


def test_less_is_kept(denoiser: VideoDenoiser, clip) -> None:
    peaks = []
    for on in (False, True):
        recompute(denoiser, on)
        peaks.append(tensor_peak(lambda: gradients(denoiser, clip)))
    assert peaks[1] < 0.6 * peaks[0]
