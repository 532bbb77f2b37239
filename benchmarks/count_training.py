"""Count what a training step of the Stable-Diffusion-size network costs, without a GPU.

python -m benchmarks.count_training           # prints the tables of docs/training.md

The real networks, loss and backward pass run on torch's meta device. Attention is taken for fused there: its
score matrix is neither kept nor counted as memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from transformers import CLIPTextConfig, CLIPTextModel

from benchmarks.count_memory import AUTOENCODER, TEXT
from models.appearnet import AppearNet
from models.denoiser import VideoDenoiser
from models.spec import SD21, UNetSpec
from models.tensor_peak import tensor_peak
from models.unet import InflatedUNet, is_added

_GIB = 2**30
_TOKENS = 77


class _FusedAttention(torch.autograd.Function):
    """Shapes, kept tensors and nothing else of a fused kernel: q, k, v, the output and its log-sum-exp."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        out = torch.empty_like(q)
        ctx.save_for_backward(q, k, v, out, q.new_empty(q.shape[:-1]))
        return out

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> Any:
        return tuple(torch.empty_like(each) for each in ctx.saved_tensors[:3])


@contextmanager
def fused() -> Iterator[None]:
    # A TorchFunctionMode would read better, but steps aside in a backward pass, where blocks run again.
    ordinary = F.scaled_dot_product_attention
    F.scaled_dot_product_attention = _FusedAttention.apply
    try:
        yield
    finally:
        F.scaled_dot_product_attention = ordinary


@dataclass(frozen=True)
class Step:
    """Of one clip: TFLOP of both passes and of the frozen encoders, bytes of the activations' peak."""

    denoiser: float
    encoders: float
    activations: int


def networks(spec: UNetSpec, freeze_spatial: bool, recompute: bool) -> VideoDenoiser:
    main, appearnet = InflatedUNet(spec), AppearNet(spec)
    for name, weight in main.named_parameters():
        weight.requires_grad_(is_added(name) or not freeze_spatial)
    main.recompute = appearnet.recompute = recompute
    return VideoDenoiser(main, appearnet)


def passes(
    spec: UNetSpec, side: int, frames: int, freeze_spatial: bool, recompute: bool
) -> tuple[int, Callable[[], object]]:
    """FLOP of one clip of frames x side x side latent cells, there and back; and a second such run."""
    denoiser = networks(spec, freeze_spatial, recompute)
    z, t = torch.zeros(1, frames, spec.latent_channels, side, side), torch.zeros(1)
    text = torch.zeros(1, _TOKENS, spec.text_width)

    def run() -> object:
        loss = denoiser(z, z[:, 0], t, text).square().mean()
        loss.backward()
        return loss

    with FlopCounterMode(display=False) as counter:
        run()  # makes the gradients as well, so that the next run adds to them
    return counter.get_total_flops(), run


def step(side: int, frames: int, freeze_spatial: bool, recompute: bool) -> Step:
    """Of Stable Diffusion 2.1's size, everything in float32."""
    with torch.device("meta"):
        flop, run = passes(SD21.unet, side, frames, freeze_spatial, recompute)
        with fused():
            peak = tensor_peak(run)
    return Step(flop / 1e12, encoders(side, frames), peak)


def encoders(side: int, frames: int) -> float:
    """TFLOP of the autoencoder on a clip's frames, and of the text encoder on its caption."""
    with torch.device("meta"):
        vae, text = AutoencoderKL(**AUTOENCODER), CLIPTextModel(CLIPTextConfig(**TEXT))
        pictures = torch.empty(frames, 3, 8 * side, 8 * side)
        caption = torch.zeros(1, _TOKENS, dtype=torch.long)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        vae.encode(pictures)
        text(caption)
    return counter.get_total_flops() / 1e12


def held(freeze_spatial: bool) -> dict[str, int]:
    """Bytes that stay on the device: float32 weights, and what training keeps of each weight that moves."""
    with torch.device("meta"):
        denoiser = networks(SD21.unet, freeze_spatial, True)
    weights = sum(w.numel() for w in denoiser.parameters())
    moving = sum(w.numel() for w in denoiser.parameters() if w.requires_grad)
    with torch.device("meta"):
        frozen = [AutoencoderKL(**AUTOENCODER), CLIPTextModel(CLIPTextConfig(**TEXT))]
    return {
        "weights": 4 * weights + 2 * sum(w.numel() for net in frozen for w in net.parameters()),
        "gradients": 4 * moving,
        "average": 4 * moving,
        "AdamW": 8 * moving,
        "AdamW, 8 bits": 2 * moving,
    }


def memory_tables() -> Iterator[str]:
    kinds = list(held(True))
    yield "| what moves | M weights | " + " | ".join(kinds) + " | sum | sum, 8 bits |"
    yield "|---|---|" + "---|" * (len(kinds) + 2)
    for freeze, name in ((True, "temporal, fusion, AppearNet"), (False, "everything")):
        sizes = held(freeze)
        whole = sum(sizes.values())
        sums = (whole - sizes["AdamW, 8 bits"], whole - sizes["AdamW"])
        cells = " | ".join(f"{size / _GIB:.1f}" for size in (*sizes.values(), *sums))
        yield f"| {name} | {sizes['gradients'] / 4e6:.0f} | {cells} |"


def step_row(side: int, recompute: bool) -> str:
    s = step(side, 16, True, recompute)
    cells = (
        f"{s.denoiser:.1f} | {s.encoders:.1f} | {s.denoiser + s.encoders:.1f} | {s.activations / _GIB:.1f}"
    )
    return f"| {8 * side} | 16 | {'yes' if recompute else 'no'} | {cells} |"


COUNTED = tuple(product((32, 40, 56), (False, True)))
"""Sides in latent cells, and whether blocks are computed again on the way back."""


def step_table() -> Iterator[str]:
    yield "| pixels | frames | recomputing | denoiser TFLOP | encoders TFLOP | sum | activations fp32 GiB |"
    yield "|---|---|---|---|---|---|---|"
    for side, recompute in COUNTED:
        yield step_row(side, recompute)


def tables() -> Iterator[str]:
    """The Markdown tables, line by line."""
    yield from memory_tables()
    yield ""
    yield from step_table()


if __name__ == "__main__":
    for line in tables():
        print(line, flush=True)
