"""The gate that makes whole films at full size: random weights, written and loaded as a worker loads them."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import torch
from diffusers import AutoencoderKL
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel

from benchmarks.count_memory import AUTOENCODER, TEXT
from benchmarks.gpu_check.bench import NO_GPU, Bench, Outcome, picture_order, video_order
from models.cinema import Cinema
from models.memory import count_activations, stored_weights
from models.nano import byte_tokenizer, random_parts
from models.orders import VideoOrder
from models.precision import network_dtype
from models.spec import CinemaSpec
from models.stepwise import result_of
from models.vae import Picture
from models.weights import save_parts

T = TypeVar("T")

BAR = "measured peak <= 1.1 times what was counted"
ALLOWED = 1.1  # scratch of kernels and the allocator's rounding; the worker's plan keeps more in reserve


def whole_films(bench: Bench) -> Outcome:
    """G11: load, paint, animate, decode at full size: seconds by stage, memory beside what was counted."""
    if not bench.on_gpu:
        return Outcome("G11", "SKIP", BAR, why=NO_GPU)
    folder = Path(tempfile.mkdtemp(prefix="full-size-"))
    try:
        write_full_size(folder, bench.full, bench.device)
        figures = film_figures(bench, folder)
    finally:
        shutil.rmtree(folder)
    over = [name for name, value in figures.items() if name.startswith("over_counted") and value > ALLOWED]
    return Outcome("G11", "FAIL" if over else "PASS", BAR, figures)


def write_full_size(folder: Path, spec: CinemaSpec, device: torch.device) -> None:
    """Networks of `spec`'s size beside Stable Diffusion's autoencoder and text encoder, in the device's
    format.
    """
    tokenizer = byte_tokenizer()
    asked = {**TEXT, "hidden_size": spec.unet.text_width}
    ends = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    torch.manual_seed(0)
    with torch.device(device):
        text_encoder = CLIPTextModel(CLIPTextConfig(**asked, **ends)).eval()
        vae = AutoencoderKL(**AUTOENCODER).eval()
        parts = random_parts(spec, vae, text_encoder, tokenizer)
    save_parts(folder, parts, network_dtype(device))


def film_figures(bench: Bench, folder: Path) -> dict[str, float]:
    """Of the model in `folder`, on an empty device: seconds to load, then a film of its first and last size.

    `_gb` is 1e9 bytes of the allocator, without CUDA's own context; over_counted is measured over counted.
    """
    held = allocated(bench)
    cinema, loading = timed(bench, lambda: Cinema.load(folder, device=bench.device.type))
    inside = network_dtype(bench.device)
    counted = sum(stored_weights(folder, lambda _: inside).values())
    resident = allocated(bench) - held
    figures = {
        "load_s": loading,
        "resident_gb": resident / 1e9,
        "over_counted_weights": resident / counted,
    }
    for side in sorted({bench.full.sizes[0][0], bench.full.sizes[-1][0]}):
        figures |= one_size(replace(bench, warm_ups=1), cinema, side, counted)
    return figures


def one_size(bench: Bench, cinema: Cinema, side: int, counted: int) -> dict[str, float]:
    """A film of side x side pixels, default number of frames and steps, behind some that are not timed."""
    spec = replace(cinema.spec, sizes=((side, side),))
    video = video_order(spec, spec.video_steps)
    for _ in range(1 + bench.warm_ups):
        reset_peak(bench)
        keyframes, picture = timed(bench, lambda: result_of(cinema.paint([picture_order(spec)])))
        latents, animation = timed(bench, partial(animated, cinema, video, keyframes))
        _, decoding = timed(bench, partial(decoded, cinema, latents))
    inside = network_dtype(bench.device)
    a = count_activations(spec, AUTOENCODER, inside, inside, size=(side, side), frames=spec.frames.default)
    expected = counted + max(a.denoise, a.encode, a.decode)
    peak = peak_bytes(bench)
    return {
        f"picture_{side}px_s": picture,
        f"video_{side}px_s": animation,
        f"decode_{side}px_s": decoding,
        f"peak_{side}px_gb": peak / 1e9,
        f"counted_{side}px_gb": expected / 1e9,
        f"over_counted_{side}px": peak / expected,
    }


def animated(cinema: Cinema, order: VideoOrder, keyframes: list[Picture]) -> Tensor:
    """The latents of one film."""
    return result_of(cinema.animate([order], keyframes))[0]


def decoded(cinema: Cinema, latents: Tensor) -> list[Picture]:
    """Its frames."""
    return list(cinema.decode(latents))


def timed(bench: Bench, work: Callable[[], T]) -> tuple[T, float]:
    """What `work` gives, and the seconds until the device had done it."""
    bench.wait()
    began = time.perf_counter()
    made = work()
    bench.wait()
    return made, time.perf_counter() - began


def allocated(bench: Bench) -> int:
    """Bytes that live tensors hold; 0 where there is no GPU to ask."""
    return torch.cuda.memory_allocated(bench.device) if bench.on_gpu else 0


def reset_peak(bench: Bench) -> None:
    if bench.on_gpu:
        torch.cuda.reset_peak_memory_stats(bench.device)


def peak_bytes(bench: Bench) -> int:
    """The most that live tensors held since `reset_peak`."""
    return torch.cuda.max_memory_allocated(bench.device) if bench.on_gpu else 0
