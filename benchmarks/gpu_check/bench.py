"""What the gates measure on, and what a gate answers."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from models.appearnet import AppearNet
from models.cinema import Cinema
from models.denoiser import VideoDenoiser
from models.orders import PictureOrder, VideoOrder
from models.precision import network_dtype
from models.spec import CinemaSpec
from models.unet import InflatedUNet

TEXT_TOKENS = 77
NO_GPU = "no CUDA device"
Verdict = Literal["PASS", "FAIL", "SKIP"]


@dataclass(frozen=True)
class Outcome:
    """`figures` by name with the unit in it; `bar` in words; `why`: what was skipped or missed."""

    gate: str
    verdict: Verdict
    bar: str
    figures: Mapping[str, float] = field(default_factory=dict)
    why: str = ""


@dataclass(frozen=True)
class Bench:
    """The device, the film maker of the shipped size, and how often to measure. Times are seconds."""

    device: torch.device
    weights: Path
    full: CinemaSpec
    runs: int = 10
    warm_ups: int = 3

    @property
    def on_gpu(self) -> bool:
        return self.device.type == "cuda"

    @property
    def card(self) -> str:
        """The card's own name, or cpu."""
        return torch.cuda.get_device_name(self.device) if self.on_gpu else "cpu"

    def wait(self) -> None:
        """Until the device has done what it was asked."""
        if self.on_gpu:
            torch.cuda.synchronize(self.device)

    def seconds(self, work: Callable[[], object]) -> float:
        """Median of `runs` behind `warm_ups`, each until the device is done."""
        taken = []
        for run in range(self.warm_ups + self.runs):
            self.wait()
            began = time.perf_counter()
            work()
            self.wait()
            if run >= self.warm_ups:
                taken.append(time.perf_counter() - began)
        return statistics.median(taken)

    def cinema(self) -> Cinema:
        """Both stages of the small model, warm."""
        cinema = Cinema.load(self.weights, device=self.device.type)
        cinema.warm_up()
        return cinema

    @torch.no_grad()
    def step(self, spec: CinemaSpec, side: int, dtype: torch.dtype | None = None) -> Callable[[], Tensor]:
        """One guided step (both passes as a batch) with random weights: latents of `side`, all frames."""
        torch.manual_seed(0)
        u, dtype = spec.unet, dtype or network_dtype(self.device)
        with torch.device(self.device):
            denoiser = VideoDenoiser(InflatedUNet(u), AppearNet(u)).to(dtype).eval()
            z = torch.randn(2, spec.frames.default, u.latent_channels, side, side)
            z_c, t = z[:, 0], torch.full((2,), 500)
            text = torch.randn(2, TEXT_TOKENS, u.text_width)

        @torch.no_grad()
        def step() -> Tensor:
            eps: Tensor = denoiser(z, z_c, t, text)
            return eps

        return step


def picture_order(spec: CinemaSpec, seed: int = 0) -> PictureOrder:
    width, height = spec.sizes[0]
    prompt = "a red circle moving right on a white background"
    return PictureOrder(prompt, "", seed, spec.picture_steps, spec.picture_guidance, width, height)


def video_order(spec: CinemaSpec, steps: int, seed: int = 0) -> VideoOrder:
    width, height = spec.sizes[0]
    return VideoOrder(
        prompt="a red circle moving right on a white background",
        negative_prompt="",
        seed=seed,
        steps=steps,
        guidance_scale=spec.video_guidance,
        gamma=spec.noise_prior_gamma,
        num_frames=spec.frames.default,
        width=width,
        height=height,
    )
