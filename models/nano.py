"""A tiny model with seeded random weights in the real folder layout: the same classes, a few milliseconds.

Tests of the service and the worker load it through the production path. It makes coloured noise.
"""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from tokenizers.pre_tokenizers import ByteLevel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from models.appearnet import AppearNet
from models.picture_configs import unet_config
from models.schedule import Schedule
from models.spec import NANO, CinemaSpec, UNetSpec
from models.unet import InflatedUNet, is_added
from models.weights import Parts, save_parts

START, END = "<|startoftext|>", "<|endoftext|>"


def write_nano(folder: Path, seed: int = 0, spec: CinemaSpec = NANO) -> None:
    """Write a loadable model of `spec`'s size; zero-initialised paths are made random too, so that every
    input (prompt, keyframe, frame order) reaches the output.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tokenizer = byte_tokenizer()
        parts = random_parts(spec, _vae(spec), _text_encoder(spec, tokenizer), tokenizer)
    save_parts(folder, parts, torch.float32)


def random_parts(
    spec: CinemaSpec, vae: AutoencoderKL, text_encoder: CLIPTextModel, tokenizer: CLIPTokenizer
) -> Parts:
    """Both stages of `spec`'s size with fresh weights, made on torch's default device, beside these."""
    unet = flat_unet(spec.unet)
    main = InflatedUNet(spec.unet)
    main.load_state_dict(unet.state_dict(), strict=False)
    appearnet = AppearNet.copy_of(main)
    randomise_silent_paths(main)
    randomise_silent_paths(appearnet)
    return Parts(spec, "", unet, main, appearnet, vae, text_encoder, tokenizer, Schedule())


def flat_unet(spec: UNetSpec) -> UNet2DConditionModel:
    """The 2D UNet that `spec` inflates, with fresh weights."""
    return UNet2DConditionModel(**unet_config(spec))


def randomise_silent_paths(net: nn.Module, scale: float = 0.05) -> None:
    """Give the zero-initialised ends of temporal and fusion paths small random weights."""
    for name, weight in net.named_parameters():
        if (is_added(name) or name.startswith("condition_in")) and not bool(weight.any()):
            nn.init.normal_(weight, std=scale)


def byte_tokenizer() -> CLIPTokenizer:
    """CLIP's tokenizer with no merges: every byte of a prompt is a token, so any text encodes."""
    letters = sorted(ByteLevel.alphabet())
    words = [*letters, *(letter + "</w>" for letter in letters), START, END]
    return CLIPTokenizer(
        vocab={word: index for index, word in enumerate(words)},
        merges=[],
        unk_token=END,
        bos_token=START,
        eos_token=END,
        pad_token=END,
        model_max_length=24,
    )


def _text_encoder(spec: CinemaSpec, tokenizer: CLIPTokenizer) -> CLIPTextModel:
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=spec.unet.text_width,
            intermediate_size=2 * spec.unet.text_width,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=tokenizer.model_max_length,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    ).eval()


def _vae(spec: CinemaSpec) -> AutoencoderKL:
    levels = spec.vae_factor.bit_length()  # one more level than halvings
    return AutoencoderKL(
        block_out_channels=(8,) * levels,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        latent_channels=spec.unet.latent_channels,
        norm_num_groups=4,
        layers_per_block=1,
        sample_size=spec.sizes[0][0],
    ).eval()
