"""Count the memory that the Stable-Diffusion-size network needs on a GPU, without one.

python -m benchmarks.count_memory             # prints the table of docs/benchmarks.md
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

import torch
from diffusers import AutoencoderKL
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel

from models.appearnet import AppearNet
from models.memory import count_activations
from models.spec import SD21
from models.unet import InflatedUNet

AUTOENCODER = {
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "block_out_channels": (128, 256, 512, 512),
    "layers_per_block": 2,
    "latent_channels": 4,
    "sample_size": 512,
}
"""Stable Diffusion 1.x and 2.x."""

# OpenCLIP ViT-H, as Stable Diffusion 2.1 uses it: 23 of its 24 layers
TEXT = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 23,
    "num_attention_heads": 16,
    "vocab_size": 49408,
    "max_position_embeddings": 77,
}

_GIB = 2**30


def weights() -> dict[str, int]:
    """Bytes in fp16 by network."""
    with torch.device("meta"):
        networks: dict[str, nn.Module] = {
            "main network": InflatedUNet(SD21.unet),
            "AppearNet": AppearNet(SD21.unet),
            "text encoder": CLIPTextModel(CLIPTextConfig(**TEXT)),
            "autoencoder": AutoencoderKL(**AUTOENCODER),
        }
    return {name: 2 * sum(w.numel() for w in net.parameters()) for name, net in networks.items()}


COUNTED = tuple(product(SD21.sizes, (SD21.frames.default, SD21.frames.maximum)))
"""Sizes in pixels and frames."""


def tables(counted: Sequence[tuple[tuple[int, int], int]] = COUNTED) -> Iterator[str]:
    """The Markdown tables, line by line; of the second one only the rows asked for."""
    held = weights()
    yield "| microcinema-sd21, fp16 | " + " | ".join(held) + " | sum |"
    yield "|---|" + "---|" * (len(held) + 1)
    cells = " | ".join(f"{size / _GIB:.2f}" for size in held.values())
    yield f"| weights, GiB | {cells} | {sum(held.values()) / _GIB:.2f} |"
    yield ""
    yield "| pixels | frames | a step under guidance | one keyframe in | one frame out | weights + largest |"
    yield "|---|---|---|---|---|---|"
    for size, frames in counted:
        a = count_activations(SD21, AUTOENCODER, torch.float16, torch.float16, size=size, frames=frames)
        parts = (a.denoise, a.encode, a.decode, sum(held.values()) + max(a.denoise, a.encode, a.decode))
        cells = " | ".join(f"{part / _GIB:.2f}" for part in parts)
        yield f"| {size[0]}x{size[1]} | {frames} | {cells} |"


if __name__ == "__main__":
    print("\n".join(tables()))
