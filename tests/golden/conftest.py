"""Small seeded networks that the golden tests compare with their oracles."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from models.appearnet import AppearNet
from models.nano import flat_unet, randomise_silent_paths
from models.spec import NANO, UNetSpec
from models.unet import InflatedUNet


@dataclass(frozen=True)
class Clip:
    """One batch of inputs: z (B, F, C, H, W), z_c (B, C, H, W), t (B,), text (B, L, D)."""

    z: Tensor
    z_c: Tensor
    t: Tensor
    text: Tensor


@pytest.fixture(autouse=True)
def _same_threads() -> Iterator[None]:
    """Two threads sum in another order than one: fix it, so that tolerances mean what they say."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def spec() -> UNetSpec:
    return NANO.unet


@pytest.fixture
def clip(spec: UNetSpec) -> Clip:
    g = torch.Generator().manual_seed(1)
    side = spec.latent_size
    return Clip(
        z=torch.randn(2, 5, spec.latent_channels, side, side, generator=g),
        z_c=torch.randn(2, spec.latent_channels, side, side, generator=g),
        t=torch.tensor([17, 801]),
        text=torch.randn(2, 6, spec.text_width, generator=g),
    )


def fresh(spec: UNetSpec, seed: int = 0) -> tuple[InflatedUNet, AppearNet]:
    """A main network inflated from a random 2D UNet, and its AppearNet, as training starts with them."""
    torch.manual_seed(seed)
    main = InflatedUNet(spec)
    main.load_state_dict(flat_unet(spec).state_dict(), strict=False)
    return main, AppearNet.copy_of(main)


@pytest.fixture
def at_start(spec: UNetSpec) -> tuple[InflatedUNet, AppearNet]:
    return fresh(spec)


@pytest.fixture
def trained(spec: UNetSpec) -> tuple[InflatedUNet, AppearNet]:
    """The same with random weights where initialisation has zeros."""
    main, appearnet = fresh(spec)
    torch.manual_seed(2)
    randomise_silent_paths(main)
    randomise_silent_paths(appearnet)
    return main.requires_grad_(False), appearnet.requires_grad_(False)
