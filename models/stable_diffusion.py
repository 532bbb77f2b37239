"""Stable Diffusion's networks out of a diffusers folder or a single file, strictly.

Every parameter must be stored, every stored tensor must be a parameter or be known as spare, and every
setting that inflation would silently get wrong (another objective, another schedule, another kind of
block) is refused with a sentence. Nothing is unpickled and nothing is fetched.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from accelerate import init_empty_weights
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from models import ldm_keys
from models.errors import BadWeights
from models.manifest import read_json
from models.picture_configs import VELOCITY, read_schedule, read_unet_spec, text_encoder_config, unet_config
from models.picture_families import PictureFamily
from models.precision import component_dtype
from models.schedule import Schedule
from models.tensors import (
    TEXT_STEM,
    WEIGHTS_STEM,
    Place,
    Places,
    StoredTensors,
    assign,
    read_state,
    refuse_pickles,
    refuse_strange,
    same_name,
)

Prediction = Literal["epsilon", "v_prediction"]
Network = TypeVar("Network", bound=nn.Module)

_OLD_ATTENTION = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}


@dataclass(frozen=True)
class PictureNetworks:
    """A text-to-image model for inference. `unused`: stored tensors that no network asked for, by name."""

    unet: UNet2DConditionModel
    vae: AutoencoderKL
    text_encoder: CLIPTextModel
    tokenizer: CLIPTokenizer
    schedule: Schedule
    unused: tuple[str, ...] = ()


def load_folder(folder: Path, device: torch.device, dtype: torch.dtype) -> PictureNetworks:
    """A Stable Diffusion 1.x or 2.x folder in the diffusers layout; raises BadWeights."""
    refuse_pickles(folder)
    index = read_json(folder / "model_index.json")
    if index.get("_class_name") != "StableDiffusionPipeline":
        raise BadWeights(
            f"{folder} holds a {index.get('_class_name')}: only a StableDiffusionPipeline can be inflated"
        )
    schedule = read_schedule(read_json(folder / "scheduler" / "scheduler_config.json"), folder)
    flat_config = read_json(folder / "unet" / "config.json")
    # diffusers' default is True; folders of before that setting existed hold autoencoders that fp16 suits.
    vae_config = {"force_upcast": False} | read_json(folder / "vae" / "config.json")
    read_unet_spec(flat_config, folder / "unet")  # refuses what cannot be inflated, before it is loaded
    _check_latents(vae_config, folder / "vae")
    stored_text = read_json(folder / "text_encoder" / "config.json")
    text_config = CLIPTextConfig(**stored_text)
    vae_dtype = component_dtype(vae_config, device, dtype)
    text_dtype = component_dtype(stored_text, device, dtype)
    with init_empty_weights(include_buffers=False):
        unet = UNet2DConditionModel.from_config(flat_config)
        vae = AutoencoderKL.from_config(vae_config)
        text_encoder = CLIPTextModel(text_config)
    unused: list[str] = []
    for network, name, stem, places, inside in (
        (unet, "unet", WEIGHTS_STEM, same_name, dtype),
        (vae, "vae", WEIGHTS_STEM, _vae_places, vae_dtype),
        (text_encoder, "text_encoder", TEXT_STEM, _text_places, text_dtype),
    ):
        stored = StoredTensors.of_component(folder / name, stem)
        used = _fill(network, stored, device, inside, places)
        left = sorted(set(stored) - used)
        strange = [key for key in left if not key.endswith("position_ids")]
        refuse_strange(stored.origin, strange)
        unused += [f"{name}/{key}" for key in left]
    return PictureNetworks(unet, vae, text_encoder, _tokenizer(folder / "tokenizer"), schedule, tuple(unused))


def load_file(
    path: Path,
    family: PictureFamily,
    tokenizer: Path,
    device: torch.device,
    dtype: torch.dtype,
    prediction: Prediction | None = None,
) -> PictureNetworks:
    """A single .safetensors in the original layout; raises BadWeights.

    Such a file says neither how prompts become tokens (`tokenizer`: a CLIP tokenizer's folder) nor, for
    2.x, what the network predicts (`prediction`, unless the file's own metadata says it).
    """
    stored = StoredTensors.of_file(path)
    _check_prediction(stored, family, prediction)
    spec, text, autoencoder = family.cinema.unet, family.text, family.autoencoder
    levels = len(autoencoder.channels)
    with init_empty_weights(include_buffers=False):
        unet = UNet2DConditionModel(**unet_config(spec))
        vae = AutoencoderKL(
            block_out_channels=autoencoder.channels,
            down_block_types=("DownEncoderBlock2D",) * levels,
            up_block_types=("UpDecoderBlock2D",) * levels,
            latent_channels=spec.latent_channels,
            layers_per_block=autoencoder.layers,
            norm_num_groups=autoencoder.norm_groups,
            sample_size=family.cinema.sizes[-1][0],
            force_upcast=False,
            scaling_factor=autoencoder.scaling_factor,
        )
        text_encoder = CLIPTextModel(text_encoder_config(family))
    used = _fill(unet, stored, device, dtype, lambda name: ldm_keys.unet_places(name, spec))
    used |= _fill(vae, stored, device, dtype, lambda name: ldm_keys.vae_places(name, levels))
    used |= _fill(text_encoder, stored, device, dtype, lambda name: ldm_keys.text_places(name, text))
    left = sorted(set(stored) - used)
    ours = (ldm_keys.UNET, ldm_keys.VAE, ldm_keys.TEXT)
    refuse_strange(path, [k for k in left if k.startswith(ours) and not ldm_keys.is_spare(k, text)])
    words = _tokenizer(tokenizer)
    if len(words) > text.vocabulary:
        raise BadWeights(f"{tokenizer}: {len(words)} tokens, {family.title} embeds {text.vocabulary}")
    return PictureNetworks(unet, vae, text_encoder, words, Schedule(), tuple(left))


def _check_prediction(stored: StoredTensors, family: PictureFamily, declared: Prediction | None) -> None:
    """Tensors do not show what they predict: believe the metadata, then the declaration, then the family."""
    said = stored.metadata.get("modelspec.prediction_type", "")
    old_768 = stored.metadata.get("modelspec.architecture", "").startswith("stable-diffusion-v2-768-v")
    if said.startswith("v") or old_768 or "v_pred" in stored or declared == "v_prediction":
        raise BadWeights(f"{stored.origin}: {VELOCITY}")
    if said != "epsilon" and declared is None and not family.always_epsilon:
        raise BadWeights(
            f"{stored.origin}: a single file of {family.title} looks the same whether it predicts noise or "
            "velocity, and this one's metadata does not say: declare --prediction-type epsilon if you know it"
        )


def _check_latents(config: Mapping[str, Any], origin: Path) -> None:
    for name in ("latents_mean", "latents_std", "shift_factor"):
        if config.get(name) is not None:
            raise BadWeights(
                f"{origin}: {name} is set; only autoencoders with a scaling_factor are supported"
            )


def _fill(
    network: nn.Module, stored: StoredTensors, device: torch.device, dtype: torch.dtype, places: Places
) -> set[str]:
    """Give an empty network its weights, for inference; returns the stored names that it used."""
    state, used = read_state(network.state_dict(), stored, device, dtype, places)
    assign(network, state)
    network.to(device).eval().requires_grad_(False)  # what is left to move are small computed buffers
    return used


def _vae_places(name: str) -> Iterable[Place]:
    """Folders saved before 2023 name the autoencoder's attention in the old way."""
    layer, _, kind = name.rpartition(".")
    for new, old in _OLD_ATTENTION.items():
        if layer.endswith(f"attentions.0.{new}"):
            return Place(name), Place(f"{layer.removesuffix(new)}{old}.{kind}", squeezed=True)
    return (Place(name),)


def _text_places(name: str) -> Iterable[Place]:
    """transformers wrapped the text model until 5.6 and names it without the wrapper since."""
    bare = name.removeprefix("text_model.")
    return Place(bare), Place(f"text_model.{bare}")


def _tokenizer(folder: Path) -> CLIPTokenizer:
    if not any((folder / name).is_file() for name in ("tokenizer.json", "vocab.json")):
        raise BadWeights(f"{folder}: there is neither tokenizer.json nor vocab.json: not a CLIP tokenizer")
    tokenizer = CLIPTokenizer.from_pretrained(folder)
    if tokenizer.model_max_length > 10_000:
        raise BadWeights(f"{folder}: tokenizer_config.json has no model_max_length (Stable Diffusion: 77)")
    return tokenizer
