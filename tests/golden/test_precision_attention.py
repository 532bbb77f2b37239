"""Attention scores beyond fp16's range: fp16 on a CPU, one tiny block, weights that make q and k large."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode

from models.blocks.spatial import MOST_ROWS, Attention

WIDTH, HEADS, TOKENS = 64, 1, 12


@pytest.fixture
def attention() -> Attention:
    torch.manual_seed(3)
    block = Attention(WIDTH, HEADS)
    with torch.no_grad():
        for projection in (block.to_q, block.to_k):
            projection.weight.mul_(300.0)
    return block.requires_grad_(False)


@pytest.fixture
def x() -> Tensor:
    return torch.randn(1, TOKENS, WIDTH, generator=torch.Generator().manual_seed(4))


def test_the_case_does_overflow_where_scores_are_fp16(attention: Attention, x: Tensor) -> None:
    half, x16 = attention.half(), x.half()
    q, k = half.to_q(x16), half.to_k(x16)
    assert torch.isfinite(q).all()
    assert torch.isfinite(k).all()
    assert q.abs().max() < 65504 / 10
    scores = q @ k.transpose(-1, -2)
    assert scores.dtype is torch.float16
    assert torch.isinf(scores).any()
    assert torch.isnan(scores.softmax(dim=-1)).any()


@pytest.mark.parametrize("kernel", [SDPBackend.FLASH_ATTENTION, SDPBackend.MATH])
def test_our_attention_stays_finite_and_close_to_fp32_by_every_kernel(
    attention: Attention, x: Tensor, kernel: SDPBackend
) -> None:
    wanted = attention(x)
    with sdpa_kernel(kernel):
        got = attention.half()(x.half())
    assert got.dtype is torch.float16
    assert torch.isfinite(got).all()
    # large scores choose one token; where two are close, fp16 weights may choose the other: compare most
    close = ((got.float() - wanted).abs() <= 0.02 * wanted.abs().max()).float().mean()
    assert close > 0.9


class Launches(TorchDispatchMode):
    """Rows of every fused attention that is run."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[int] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if "scaled_dot_product" in str(func):
            self.rows.append(args[0].shape[0])
        return func(*args, **(kwargs or {}))


def test_no_launch_has_more_rows_than_cuda_takes_and_every_row_is_what_it_is_alone() -> None:
    torch.manual_seed(5)
    block = Attention(2, 1).requires_grad_(False)
    x = torch.randn(2**16 + 1, 2, 2)  # eight clips of 512x512 pixels under guidance, and one place more
    with Launches() as launches:
        got = block(x)
        alone = block(x[-3:])
    assert launches.rows == [MOST_ROWS, 2, 3]
    assert MOST_ROWS < 2**16
    assert got.shape == x.shape
    torch.testing.assert_close(got[-3:], alone)


def test_nothing_here_allows_half_precision_scores() -> None:
    """The one switch of torch that would: it lets the math kernel keep fp16 scores on CUDA."""
    assert not torch.backends.cuda.fp16_bf16_reduction_math_sdp_allowed()
