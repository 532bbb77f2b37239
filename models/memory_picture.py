"""How much arithmetic a picture model needs between two signs of life: counted, or bounded from above.

Stage 1 may be any of diffusers' text-to-image pipelines. A 2D UNet is run on the meta device. The inputs of
all the transformers are not known here, but each of their weights meets each position once: that bounds them.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel

from models.manifest import read_json
from models.tensor_peak import cost_of

PROMPT_TOKENS = 512  # the longest that pipelines pad a prompt to
OWN_CELLS = 128  # the side that pipelines take for their own where the folder names none: Flux, Lumina, Sana
_GUIDED = 2  # the prompt and the negative prompt
_CANNOT_BE_COUNTED = (TypeError, ValueError, KeyError, AttributeError, RuntimeError, ArithmeticError)


def picture_cells(folder: Path, largest: tuple[int, int] = (0, 0)) -> tuple[int, int]:
    """(height, width) in latent cells of the largest picture that is painted.

    The pipeline's own size, in square, or `largest` (width, height in pixels) if that has more pixels.
    """
    own = OWN_CELLS
    for part in ("unet", "transformer"):
        path = folder / part / "config.json"
        if path.is_file() and isinstance(read_json(path).get("sample_size"), int):
            own = int(read_json(path)["sample_size"])
    path = folder / "vae" / "config.json"
    levels = read_json(path).get("block_out_channels") if path.is_file() else None
    pixels = 2 ** (len(levels) - 1) if isinstance(levels, list) else 8
    width, height = (ceil(side / pixels) for side in largest)
    return (height, width) if width * height > own * own else (own, own)


def paint_work(
    folder: Path, weights: Mapping[str, int], inside: torch.dtype, cells: tuple[int, int]
) -> tuple[int, int]:
    """Floating-point operations of one step under guidance, and of both prompts before the first one.

    `weights`: bytes by component in the format `inside`. `cells`: height, width.
    """
    height, width = cells
    network = max(weights.get(part, 0) for part in ("unet", "transformer")) // inside.itemsize
    step = _GUIDED * 2 * network * (height * width + PROMPT_TOKENS)
    path = folder / "unet" / "config.json"
    if path.is_file():
        step = _unet_work(read_json(path), height, width) or step
    return step, prompt_work(weights, inside)


def prompt_work(weights: Mapping[str, int], inside: torch.dtype) -> int:
    """Floating-point operations of a pipeline's text encoders, from above: each weight meets each token."""
    encoders = sum(size for part, size in weights.items() if part.startswith("text_encoder"))
    return _GUIDED * 2 * (encoders // inside.itemsize) * PROMPT_TOKENS


def _unet_work(config: Mapping[str, Any], height: int, width: int) -> int:
    """Of one step under guidance; 0 for a build that these inputs do not suit."""
    try:
        with torch.device("meta"):
            unet = UNet2DConditionModel.from_config(dict(config))
            z = torch.empty(_GUIDED, unet.config.in_channels, height, width)
            text = torch.empty(_GUIDED, 77, unet.config.cross_attention_dim)
            more = {}
            if unet.config.addition_embed_type == "text_time":  # Stable Diffusion XL
                times = 6 * unet.config.addition_time_embed_dim
                pooled = unet.config.projection_class_embeddings_input_dim - times
                more = {"text_embeds": torch.empty(_GUIDED, pooled), "time_ids": torch.empty(_GUIDED, 6)}
            with torch.inference_mode():
                return cost_of(lambda: unet(z, 1, text, added_cond_kwargs=more)).work
    except _CANNOT_BE_COUNTED:
        return 0
