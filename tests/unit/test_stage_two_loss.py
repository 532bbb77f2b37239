"""The loss that micro and full size share, against the paper's formula written out."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from models.schedule import Schedule
from models.training.objective import Objective
from models.training.stage_two_loss import StageTwoLoss

PAPER = Objective(0.00085, 0.012, 1000, snr_cap=float("inf"), text_dropped=0.1, appearance_weight=0.03)
CLEAN = torch.randn(3, 5, 4, 2, 2, generator=torch.Generator().manual_seed(1))
Z_C, TEXT = CLEAN[:, 2], torch.zeros(3, 6, 8)


class Recording(nn.Module):
    """Answers with a given share of what it is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[Tensor, ...]] = []

    def forward(self, *shown: Tensor) -> Tensor:
        self.seen.append(shown)
        return 0.5 * shown[0]


def test_it_is_the_mean_squared_error_of_the_composite_noise() -> None:
    net = Recording()
    loss = StageTwoLoss(PAPER)(net, CLEAN, Z_C, TEXT, torch.Generator().manual_seed(2))
    z, z_c, t, text = net.seen[0]
    bar = Schedule().alpha_bar[t].view(-1, 1, 1, 1, 1)
    noise = (z - bar.sqrt() * CLEAN) / (1 - bar).sqrt()
    assert float(loss) == pytest.approx(float((0.5 * z - noise).square().mean()), rel=1e-3)
    assert torch.equal(z_c, Z_C)
    assert torch.equal(text, TEXT)


def test_lambda_leans_noise_and_target_towards_the_keyframe_and_nothing_else() -> None:
    without = Objective(**{**PAPER.__dict__, "appearance_weight": 0.0})
    leaning, plain = (
        StageTwoLoss(each).example(CLEAN, Z_C, torch.Generator().manual_seed(3)) for each in (PAPER, without)
    )
    assert torch.equal(leaning.t, plain.t)
    torch.testing.assert_close(
        leaning.target - plain.target, 0.03 * Z_C[:, None].expand_as(CLEAN), atol=1e-6, rtol=0
    )
    sigma = (1 - Schedule().alpha_bar[plain.t]).sqrt().view(-1, 1, 1, 1, 1)
    torch.testing.assert_close(
        leaning.z - plain.z, sigma * 0.03 * Z_C[:, None].expand_as(CLEAN), atol=1e-6, rtol=0
    )


def test_the_generator_alone_decides() -> None:
    losses = [
        float(StageTwoLoss(PAPER)(Recording(), CLEAN, Z_C, TEXT, torch.Generator().manual_seed(seed)))
        for seed in (4, 4, 5)
    ]
    assert losses[0] == losses[1] != losses[2]


def test_noise_over_the_keyframe_reaches_the_network_and_the_prior_alike() -> None:
    net = Recording()
    shaken = Objective(**{**PAPER.__dict__, "keyframe_noise": 0.5})
    StageTwoLoss(shaken)(net, CLEAN, Z_C, TEXT, torch.Generator().manual_seed(6))
    over = net.seen[0][1] - Z_C
    assert float(over.std()) == pytest.approx(0.5, rel=0.3)
