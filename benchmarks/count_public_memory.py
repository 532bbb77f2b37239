"""Count the memory that public video models need on a GPU, without one and without their weights.

python -m benchmarks.count_public_memory      # prints the table of docs/benchmarks.md

The networks are built at the sizes of the released models, on the meta device; the count is the worker's own.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch

from benchmarks.count_memory import AUTOENCODER
from models.memory_need import MemoryNeed
from models.memory_public import public_activations
from models.video_families import VIDEO_FAMILIES
from worker.device.accelerator import DeviceMemory
from worker.device.plan import GIB, MemoryPlan
from worker.grace import hang_grace_s

F16, BF16, F32 = torch.float16, torch.bfloat16, torch.float32
_COGVIDEOX_AUTOENCODER = {
    "block_out_channels": (128, 256, 256, 512),
    "latent_channels": 16,
    "layers_per_block": 3,
    "down_block_types": ("CogVideoXDownBlock3D",) * 4,
    "up_block_types": ("CogVideoXUpBlock3D",) * 4,
}
_COGVIDEOX_5B = {"num_attention_heads": 48, "num_layers": 42, "use_rotary_positional_embeddings": True}


@dataclass(frozen=True)
class Released:
    """How to build `network` and `autoencoder`; `encoders` of text and picture have so many 10^9 weights."""

    pipeline: str
    part: str
    network: Callable[[], Any]
    autoencoder: Callable[[], Any]
    encoders: float
    inside: torch.dtype


RELEASED: Mapping[str, Released] = {
    "I2VGen-XL": Released(
        "I2VGenXLPipeline",
        "unet",
        diffusers.I2VGenXLUNet,
        lambda: diffusers.AutoencoderKL(**AUTOENCODER),
        0.63 + 0.35,
        F16,
    ),
    "Stable Video Diffusion": Released(
        "StableVideoDiffusionPipeline",
        "unet",
        diffusers.UNetSpatioTemporalConditionModel,
        lambda: diffusers.AutoencoderKLTemporalDecoder(
            block_out_channels=(128, 256, 512, 512),
            down_block_types=("DownEncoderBlock2D",) * 4,
            layers_per_block=2,
        ),
        0.63,
        F16,
    ),
    "CogVideoX 5b image-to-video": Released(
        "CogVideoXImageToVideoPipeline",
        "transformer",
        lambda: diffusers.CogVideoXTransformer3DModel(
            **_COGVIDEOX_5B, in_channels=32, use_learned_positional_embeddings=True
        ),
        lambda: diffusers.AutoencoderKLCogVideoX(**_COGVIDEOX_AUTOENCODER),
        4.76,
        BF16,
    ),
    "LTX-Video 2b": Released(
        "LTXImageToVideoPipeline",
        "transformer",
        diffusers.LTXVideoTransformer3DModel,
        diffusers.AutoencoderKLLTXVideo,
        4.76,
        BF16,
    ),
    "Wan 2.1 14b image-to-video": Released(
        "WanImageToVideoPipeline",
        "transformer",
        lambda: diffusers.WanTransformer3DModel(in_channels=36, image_dim=1280, added_kv_proj_dim=5120),
        diffusers.AutoencoderKLWan,
        5.68 + 0.63,
        BF16,
    ),
    "ModelScope": Released(
        "TextToVideoSDPipeline",
        "unet",
        diffusers.UNet3DConditionModel,
        lambda: diffusers.AutoencoderKL(**AUTOENCODER),
        0.35,
        F16,
    ),
    "CogVideoX 2b": Released(
        "CogVideoXPipeline",
        "transformer",
        diffusers.CogVideoXTransformer3DModel,
        lambda: diffusers.AutoencoderKLCogVideoX(**_COGVIDEOX_AUTOENCODER),
        4.76,
        BF16,
    ),
}


def need_of(model: Released) -> MemoryNeed:
    """Weights and activations of a released model at its family's largest size and length."""
    decoder = F32 if "vae" in VIDEO_FAMILIES[model.pipeline].float32_parts else model.inside
    with torch.device("meta"):
        parts = {model.part: model.network(), "vae": model.autoencoder()}
    formats = {model.part: model.inside, "vae": decoder}
    weights = {
        name: sum(weight.numel() for weight in network.parameters()) * formats[name].itemsize
        for name, network in parts.items()
    }
    weights["encoders"] = int(model.encoders * 1e9) * model.inside.itemsize
    with tempfile.TemporaryDirectory() as name:
        folder, index = Path(name), {"_class_name": model.pipeline}
        for part, network in parts.items():
            network.save_config(folder / part)
            index[part] = ["diffusers", type(network).__name__]
        (folder / "model_index.json").write_text(json.dumps(index))
        return MemoryNeed(model.pipeline, weights, public_activations(folder, model.inside))


def table(counted: Iterable[str] = RELEASED) -> Iterator[str]:
    """The Markdown table, line by line; only the models asked for."""
    yield "| model | largest | weights | a step | keyframe in | clip out | plan | TFLOP | hung after |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for name in counted:
        need = need_of(RELEASED[name])
        a = need.activations
        assert a is not None, name
        plan = MemoryPlan(need, DeviceMemory(0, is_host=False), 1, 1)
        sizes = (need.weight_bytes, a.denoise, a.encode, a.decode, plan.total)
        cells = " | ".join(f"{size / GIB:.1f}" for size in sizes)
        grace = f"{hang_grace_s(plan, None):.0f} s"
        largest = f"{a.width}x{a.height}, {a.frames} frames"
        yield f"| {name} | {largest} | {cells} | {a.work / 1e12:.0f} | {grace} |"


if __name__ == "__main__":
    print("\n".join(table()))
