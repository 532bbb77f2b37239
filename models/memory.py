"""What a model needs of a device's memory, counted before a byte of it is taken (ADR 0008).

Weights are read off the files' headers; activations are counted by running the real networks on the meta
device at the largest size and length that the model allows. An H200 took 1.03 to 1.05 times as much
(docs/gpu-check.md).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL
from torch import nn

from models.appearnet import AppearNet
from models.denoiser import VideoDenoiser
from models.errors import BadWeights
from models.manifest import read_json
from models.memory_need import Activations, MemoryNeed
from models.memory_picture import paint_work, picture_cells, prompt_work
from models.memory_public import public_activations
from models.pipeline_folder import pipeline_class, pipeline_dtype
from models.pipeline_index import INDEX
from models.precision import network_dtype
from models.spec import CinemaSpec
from models.tensor_peak import Cost, cost_of
from models.tensors import StoredTensors
from models.unet import InflatedUNet
from models.video_families import VIDEO_FAMILIES, Sizes
from models.weights import read_spec

# What torch and diffusers raise for sizes that contradict each other.
_CANNOT_BE_BUILT = (TypeError, ValueError, KeyError, AttributeError, RuntimeError, ArithmeticError)
NONE = [None, None]  # how model_index.json says that a component is left out
TEXT_TOKENS = 77  # CLIP's; the text side is under a thousandth of what a clip takes
_BRANCHES = 2  # guidance runs the prompt and the negative prompt as one batch


def model_need(
    folder: Path, device: torch.device, name: str | None = None, sizes: Sizes | None = None
) -> MemoryNeed:
    """Of a MicroCinema's folder or a public video pipeline's.

    `name` is for sentences; None takes its own, or the folder's. `sizes` (width, height) are those that a
    public pipeline is to offer, if not its family's. Raises BadWeights for a folder that is not complete.
    """
    if not (folder / "cinema.json").is_file():
        weights = _pipeline_weights(folder, device)
        activations = public_activations(folder, pipeline_dtype(folder, device), sizes)
        prompts = prompt_work(weights, pipeline_dtype(folder, device))
        return MemoryNeed(name or folder.name, weights, activations, prompt_work=prompts)
    spec, autoencoder = read_spec(folder), read_json(folder / "vae" / "config.json")
    inside = network_dtype(device)
    asked = {
        "vae": network_dtype(device, autoencoder),
        "text_encoder": network_dtype(device, read_json(folder / "text_encoder" / "config.json")),
    }
    weights = stored_weights(folder, lambda component: asked.get(component, inside))
    try:
        activations = count_activations(spec, autoencoder, inside, asked["vae"])
    except _CANNOT_BE_BUILT as error:
        raise BadWeights(
            f"{folder}: no such networks can be built: {type(error).__name__}: {error}"
        ) from error
    return MemoryNeed(name or spec.name, weights, activations)


def picture_model_need(folder: Path, device: torch.device, largest: tuple[int, int] = (0, 0)) -> MemoryNeed:
    """Of a text-to-image pipeline: its weights, and one picture through its autoencoder and its network.

    The autoencoder is its peak: a picture's pixels are many times its latents. Counted is a picture of the
    pipeline's own size, or of the `largest` (width, height in pixels) that stage 2 asks for, whichever is
    more. 0 bytes for autoencoders of other classes than Stable Diffusion's. Raises BadWeights.
    """
    weights = _pipeline_weights(folder, device)
    path = folder / "vae" / "config.json"
    autoencoder = read_json(path) if path.is_file() else {}
    inside = pipeline_dtype(folder, device)
    steps, prompts = paint_work(folder, weights, inside, picture_cells(folder, largest))
    if autoencoder.get("_class_name") != "AutoencoderKL":
        return MemoryNeed(folder.name, weights, None, paint_work=steps, prompt_work=prompts)
    decoder = torch.float32 if autoencoder.get("force_upcast") is True else inside
    try:
        decode = _decode_cost(autoencoder, decoder, *picture_cells(folder, largest))
    except _CANNOT_BE_BUILT as error:
        raise BadWeights(f"{path}: no such network: {type(error).__name__}: {error}") from error
    work = max(steps, decode.work)
    return MemoryNeed(folder.name, weights, None, paint=decode.peak, paint_work=work, prompt_work=prompts)


def _pipeline_weights(folder: Path, device: torch.device) -> dict[str, int]:
    """Of the components that model_index.json names: some folders hold more."""
    family = VIDEO_FAMILIES.get(pipeline_class(folder))
    whole = family.float32_parts if family is not None else ()
    inside, index = pipeline_dtype(folder, device), read_json(folder / INDEX)
    stored = stored_weights(folder, lambda component: torch.float32 if component in whole else inside)
    return {component: size for component, size in stored.items() if index.get(component, NONE) != NONE}


def stored_weights(folder: Path, wanted: Callable[[str], torch.dtype]) -> dict[str, int]:
    """Bytes by component (subfolder) once its tensors are in the format `wanted(component)`."""
    sums: dict[str, int] = {}
    # No loader takes the weights without moving average that some folders hold beside the others.
    paths = [path for path in sorted(folder.glob("*/*.safetensors")) if ".non_ema" not in path.name]
    in_full = {path.parent for path in paths if ".fp16" not in path.name}
    for path in paths:
        component = path.parent.name
        if ".fp16" in path.name and path.parent in in_full:
            continue  # the same tensors once more
        stored = StoredTensors([path], path)
        elements = sum(prod(stored.shape(key)) for key in stored)
        sums[component] = sums.get(component, 0) + elements * wanted(component).itemsize
    return sums


def count_activations(
    spec: CinemaSpec,
    autoencoder: Mapping[str, Any],
    inside: torch.dtype,
    decoder: torch.dtype,
    *,
    size: tuple[int, int] | None = None,
    frames: int | None = None,
) -> Activations:
    """Run the networks of `spec` and an autoencoder of this config on the meta device.

    `inside`: format of the denoiser. `decoder`: format of the autoencoder. `size` (width, height) and
    `frames` are the largest of the spec unless given.
    Stage 1 is not counted: it is the same UNet on one frame instead of a clip.
    """
    width, height = size or max(spec.sizes, key=prod)
    frames = frames or spec.frames.maximum
    channels, h, w = spec.latent_shape(width, height)
    with torch.device("meta"):
        denoiser = VideoDenoiser(InflatedUNet(spec.unet), AppearNet(spec.unet)).to(inside)
        vae = _empty_autoencoder(autoencoder, decoder)
        z = torch.empty(_BRANCHES, frames, channels, h, w)
        z_c, t = torch.empty(_BRANCHES, channels, h, w), torch.empty(_BRANCHES)
        text = torch.empty(_BRANCHES, TEXT_TOKENS, spec.unet.text_width)
        picture = torch.empty(1, 3, height, width, dtype=decoder)

    def encode() -> object:
        return vae.encode(picture).latent_dist.mode()

    with torch.inference_mode():
        denoised, encoded = cost_of(lambda: denoiser(z, z_c, t, text)), cost_of(encode)
        decoded = _decode_cost(autoencoder, decoder, h, w)
    return Activations(
        denoise=denoised.peak,
        encode=encoded.peak,
        decode=decoded.peak,
        width=width,
        height=height,
        frames=frames,
        work=max(denoised.work, encoded.work, decoded.work),
    )


def _decode_cost(autoencoder: Mapping[str, Any], inside: torch.dtype, h: int, w: int) -> Cost:
    """One picture of h x w latent cells, to float32 pixels."""
    vae = _empty_autoencoder(autoencoder, inside)
    latent = torch.empty(1, vae.config.latent_channels, h, w, dtype=inside, device="meta")

    def decode() -> object:
        return vae.decode(latent).sample.float()

    with torch.inference_mode():
        return cost_of(decode)


def _empty_autoencoder(config: Mapping[str, Any], inside: torch.dtype) -> AutoencoderKL:
    with torch.device("meta"):
        vae = AutoencoderKL.from_config(dict(config))
    nn.Module.to(vae, inside)  # diffusers' own `to` warns of casts that matter for real weights only
    return vae
