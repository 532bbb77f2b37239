"""Stable Diffusion's two families at their real depth and a fraction of their width, with random weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import save_file
from torch import Tensor
from transformers import CLIPTextModel

from models import ldm_keys
from models.nano import byte_tokenizer
from models.picture_configs import text_encoder_config, unet_config
from models.picture_families import FAMILIES, AutoencoderSpec, PictureFamily
from models.spec import FrameRule
from models.tensors import Place

HEADS = {"microcinema-sd21": (1, 2, 3, 3), "microcinema-sd15": (4, 4, 4, 4)}


def small_family(name: str) -> PictureFamily:
    """The family with every level, block and key name of the real one, and narrow layers."""
    family = FAMILIES[name]
    unet = replace(
        family.cinema.unet, channels=(32, 64, 96, 96), heads=HEADS[name], text_width=32, latent_size=8
    )
    cinema = replace(
        family.cinema, unet=unet, sizes=((64, 64),), frames=FrameRule(1, 4, 2), picture_steps=2, video_steps=2
    )
    tokenizer = byte_tokenizer()
    text = replace(
        family.text, layers=2, heads=2, vocabulary=len(tokenizer), length=tokenizer.model_max_length
    )
    autoencoder = AutoencoderSpec(channels=(8, 8, 16, 16), layers=1, norm_groups=4)
    return replace(family, cinema=cinema, text=text, autoencoder=autoencoder)


def pipeline(family: PictureFamily, seed: int = 0, prediction: str = "epsilon") -> StableDiffusionPipeline:
    """diffusers' own pipeline of that size, with the scheduler that the real folders name."""
    torch.manual_seed(seed)
    levels = len(family.autoencoder.channels)
    return StableDiffusionPipeline(
        vae=AutoencoderKL(
            block_out_channels=family.autoencoder.channels,
            down_block_types=("DownEncoderBlock2D",) * levels,
            up_block_types=("UpDecoderBlock2D",) * levels,
            latent_channels=4,
            layers_per_block=family.autoencoder.layers,
            norm_num_groups=family.autoencoder.norm_groups,
        ).eval(),
        text_encoder=CLIPTextModel(text_encoder_config(family)).eval(),
        tokenizer=byte_tokenizer(),
        unet=UNet2DConditionModel(**unet_config(family.cinema.unet)).eval(),
        scheduler=PNDMScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            prediction_type=prediction,
            set_alpha_to_one=False,
            skip_prk_steps=True,
            steps_offset=1,
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def single_file(
    path: Path, family: PictureFamily, pipe: StableDiffusionPipeline, metadata: dict[str, str] | None = None
) -> dict[str, Tensor]:
    """The pipeline's weights in the original layout, with what real files carry besides; returns them."""
    state: dict[str, Tensor] = {}
    levels = len(family.autoencoder.channels)
    spec, text = family.cinema.unet, family.text
    _place(state, pipe.unet.state_dict(), lambda name: ldm_keys.unet_places(name, spec))
    _place(state, pipe.vae.state_dict(), lambda name: ldm_keys.vae_places(name, levels))
    _place(state, pipe.text_encoder.state_dict(), lambda name: ldm_keys.text_places(name, text))
    prefix = "cond_stage_model.model." if text.layout == "open_clip" else "cond_stage_model.transformer."
    width = spec.text_width
    state |= {
        "betas": torch.linspace(0, 1, 4),
        "model_ema.decay": torch.tensor(0.9999),
        "first_stage_model.loss.logvar": torch.zeros(1),
    }
    if text.layout == "clip":
        state[f"{prefix}text_model.embeddings.position_ids"] = torch.arange(text.length)[None]
    else:
        state[f"{prefix}logit_scale"] = torch.tensor(4.6)
        state[f"{prefix}text_projection"] = torch.eye(width)
        state[f"{prefix}transformer.resblocks.{text.layers}.ln_1.weight"] = torch.ones(width)
    save_file({k: v.contiguous() for k, v in state.items()}, path, metadata=metadata)
    return state


def _place(state: dict[str, Tensor], weights: dict[str, Tensor], places: Callable[[str], Any]) -> None:
    thirds: dict[str, dict[int, Tensor]] = {}
    for name, value in weights.items():
        place: Place = next(iter(places(name)))
        if place.third is not None:
            thirds.setdefault(place.key, {})[place.third] = value
        elif place.squeezed and value.ndim == 2:
            state[place.key] = value[:, :, None, None].clone()
        else:
            state[place.key] = value.clone()
    for key, parts in thirds.items():
        state[key] = torch.cat([parts[n] for n in range(3)])
