"""The networks that a training begins with, and the folder that it ends with."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from models.errors import BadWeights
from models.inflate import inflate
from models.precision import network_dtype
from models.spec import SPECS, CinemaSpec, Vocabulary
from models.stable_diffusion import load_folder
from models.training.objective import Objective
from models.training.scale.plan import Clips, ScalePlan
from models.unet import is_added
from models.weights import Parts, load_parts, save_parts

FORMATS = {"fp16": torch.float16, "fp32": torch.float32}


@dataclass(frozen=True)
class Start:
    """[start]: a MicroCinema folder (`models.weights`), or a Stable Diffusion one to inflate to `spec`."""

    folder: str
    spec: str = ""


def begin(start: Start, device: torch.device, seed: int) -> Parts:
    """The networks on `device`: denoiser in float32, autoencoder and text encoder in what they serve in.

    `seed`: of the layers that inflation adds. Raises BadWeights.
    """
    folder = Path(start.folder)
    if (folder / "cinema.json").is_file():
        if start.spec:
            raise BadWeights(f"{folder} says itself what model it is: leave spec out of [start]")
        parts = load_parts(folder, device, torch.float32)
    else:
        parts = _inflated(folder, start.spec, device, seed)
    text = parts.text_encoder.eval()
    # nn.Module's own `to`: diffusers' and transformers' warn of casts that matter for moving weights only
    nn.Module.to(parts.vae.eval(), network_dtype(device, parts.vae.config))
    nn.Module.to(text, network_dtype(device, text.config.to_dict()))
    return parts


def _inflated(folder: Path, name: str, device: torch.device, seed: int) -> Parts:
    if name not in SPECS:
        raise BadWeights(
            f"{folder} has no cinema.json, so it is to be inflated; [start] spec is {name!r} and must be one "
            f"of {sorted(SPECS)}"
        )
    picture = load_folder(folder, device, torch.float32)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        main, appearnet = inflate(picture.unet, SPECS[name].unet)
    return Parts(
        spec=SPECS[name],
        weight_hash="",
        unet=picture.unet,
        main=main.to(device).eval(),
        appearnet=appearnet.to(device).eval(),
        vae=picture.vae,
        text_encoder=picture.text_encoder,
        tokenizer=picture.tokenizer,
        schedule=picture.schedule,
    )


def set_moving(parts: Parts, plan: ScalePlan) -> None:
    """Freeze what does not train, and choose what is kept for the way back."""
    for network in (parts.vae, parts.text_encoder, parts.unet):
        network.requires_grad_(False)
    for name, weight in parts.main.named_parameters():
        weight.requires_grad_(is_added(name) or not plan.freeze_spatial)
    parts.appearnet.requires_grad_(True)
    parts.main.recompute = parts.appearnet.recompute = plan.gradient_checkpointing


def moving(networks: Mapping[str, nn.Module]) -> dict[str, nn.Parameter]:
    """The parameters that train, by network and name."""
    return {
        f"{prefix}.{name}": weight
        for prefix, network in networks.items()
        for name, weight in network.named_parameters()
        if weight.requires_grad
    }


def finished_spec(
    begun: CinemaSpec, clips: Clips, objective: Objective, vocabulary: Vocabulary | None, description: str
) -> CinemaSpec:
    """What the finished model says of itself; raises ValueError for clips that it could not make."""
    rule = begun.frames
    if not rule.allows(clips.frames):
        allowed = f"{rule.minimum} to {rule.maximum} in steps of {rule.step}"
        raise ValueError(f"frames is {clips.frames}; {begun.name} makes {allowed}")
    size = (clips.width, clips.height)
    begun.latent_shape(*size)
    return replace(
        begun,
        sizes=(size, *(each for each in begun.sizes if each != size)),
        frames=replace(rule, default=clips.frames),
        fps=clips.fps,
        noise_prior_lambda=objective.appearance_weight,
        vocabulary=vocabulary,
        description=description,
    )


def export(parts: Parts, folder: Path, dtype: torch.dtype) -> None:
    """Write the model; `folder` appears whole or not at all."""
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    save_parts(partial, parts, dtype)
    partial.rename(folder)
