"""Count the weights of public picture models at the sizes of the released ones, without their weights.

python -m benchmarks.count_picture_memory     # prints the table of docs/models.md
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import diffusers
import torch
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, T5Config, T5EncoderModel

from benchmarks.count_memory import AUTOENCODER, TEXT
from models.picture_configs import text_encoder_config, unet_config
from models.picture_families import FAMILIES
from models.spec import SD15, SD21

_GIB = 2**30


def _unet(**settings: Any) -> Callable[[], nn.Module]:
    return lambda: diffusers.UNet2DConditionModel(**settings)


def _autoencoder(channels: int = 4) -> nn.Module:
    return diffusers.AutoencoderKL(**AUTOENCODER | {"latent_channels": channels})


def _clip_large() -> nn.Module:
    return CLIPTextModel(text_encoder_config(FAMILIES[SD15.name]))


def _clip_big() -> nn.Module:
    """OpenCLIP ViT-bigG/14."""
    return CLIPTextModelWithProjection(
        CLIPTextConfig(
            **TEXT | {"hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32},
            projection_dim=1280,
        )
    )


def _t5() -> nn.Module:
    """The encoder of T5 1.1 XXL."""
    return T5EncoderModel(
        T5Config(
            d_model=4096, d_kv=64, d_ff=10240, num_layers=24, num_heads=64, feed_forward_proj="gated-gelu"
        )
    )


@dataclass(frozen=True)
class Released:
    """`side`: of the square, in pixels, that it was trained at. `networks` make what is in memory."""

    pipeline: str
    license: str
    side: int
    networks: tuple[Callable[[], nn.Module], ...]


_SD15 = Released(
    "StableDiffusionPipeline",
    "CreativeML Open RAIL-M",
    512,
    (_unet(**unet_config(SD15.unet)), _clip_large, _autoencoder),
)

RELEASED: Mapping[str, Released] = {
    "Stable Diffusion 1.5": _SD15,
    "Stable Diffusion 2.1": replace(
        _SD15,
        license="OpenRAIL++-M",
        side=768,
        networks=(
            _unet(**unet_config(SD21.unet)),
            lambda: CLIPTextModel(CLIPTextConfig(**TEXT)),
            _autoencoder,
        ),
    ),
    "Stable Diffusion XL": Released(
        "StableDiffusionXLPipeline",
        "OpenRAIL++-M",
        1024,
        (
            _unet(
                block_out_channels=(320, 640, 1280),
                down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
                up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
                transformer_layers_per_block=(1, 2, 10),
                attention_head_dim=(5, 10, 20),
                cross_attention_dim=2048,
                addition_embed_type="text_time",
                addition_time_embed_dim=256,
                projection_class_embeddings_input_dim=2816,
                use_linear_projection=True,
            ),
            _clip_large,
            _clip_big,
            _autoencoder,
        ),
    ),
    "Stable Diffusion 3 medium": Released(
        "StableDiffusion3Pipeline",
        "Stability AI Community License",
        1024,
        (
            lambda: diffusers.SD3Transformer2DModel(
                num_layers=24,
                num_attention_heads=24,
                caption_projection_dim=1536,
                out_channels=16,
                pos_embed_max_size=192,
            ),
            _clip_large,
            _clip_big,
            _t5,
            lambda: _autoencoder(16),
        ),
    ),
    "Flux schnell": Released(
        "FluxPipeline",
        "Apache-2.0",
        1024,
        (diffusers.FluxTransformer2DModel, _clip_large, _t5, lambda: _autoencoder(16)),
    ),
    "PixArt-alpha": Released(
        "PixArtAlphaPipeline",
        "OpenRAIL++-M",
        1024,
        (
            lambda: diffusers.PixArtTransformer2DModel(caption_channels=4096, num_layers=28),
            _t5,
            _autoencoder,
        ),
    ),
}


def parameters(model: Released) -> int:
    """Of all its networks."""
    with torch.device("meta"):
        return sum(weight.numel() for make in model.networks for weight in make().parameters())


def table(counted: Iterable[str] = RELEASED) -> Iterator[str]:
    """The Markdown table, line by line; only the models asked for."""
    yield "| model | pipeline class | licence | its size | 10^9 weights | weights, GiB |"
    yield "|---|---|---|---|---|---|"
    for name in counted:
        model = RELEASED[name]
        count = parameters(model)
        size = f"{model.side}x{model.side}"
        yield (
            f"| {name} | `{model.pipeline}` | {model.license} | {size} | {count / 1e9:.2f} | "
            f"{2 * count / _GIB:.1f} |"
        )


if __name__ == "__main__":
    print("\n".join(table()))
