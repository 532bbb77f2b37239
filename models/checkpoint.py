"""A clip between two steps of stage 2, as bytes: whoever has the same weights goes on with it from there.

safetensors, nothing to unpickle: `z` and `x_0` (1, F, C, h, w) in float32, and in the header where the clip
stands and what it belongs to. Latents are float32 outside the networks on every device (ADR 0005), so nothing
is lost on the way, and a clip that was begun on one kind of device may be ended on another.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from models.errors import CheckpointUnfit
from models.orders import VideoOrder
from models.recipe import RECIPE
from models.sampler import SampleStep
from models.vae import Picture

_HEADER_MAX_BYTES = 64 * 1024


def belongings(order: VideoOrder, keyframe: Picture, weight_hash: str) -> Mapping[str, str]:
    """What a clip must have in common with the run that goes on with it, by name.

    Recipe, weight hash and steps as they are; of the keyframe's pixels and of all of the order a sha256.
    """
    fields = {name: value for name, value in asdict(order).items() if name != "after"}
    return {
        "recipe": RECIPE,
        "weight_hash": weight_hash,
        "steps": str(order.steps),
        "keyframe": hashlib.sha256(np.ascontiguousarray(keyframe).tobytes()).hexdigest(),
        "order": hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest(),
    }


def write_checkpoint(step: SampleStep, row: int, belongs: Mapping[str, str]) -> bytes:
    """Clip `row` of a batch as it stands behind `step`. Waits for the device and copies from it."""
    tensors = {
        name: x[row : row + 1].detach().to("cpu", torch.float32).contiguous()
        for name, x in (("z", step.z), ("x_0", step.x_0))
    }
    return save(tensors, {"step": str(step.index), **belongs})


def read_checkpoint(body: bytes, shape: tuple[int, ...], belongs: Mapping[str, str]) -> SampleStep:
    """The step that `write_checkpoint` was given, for one clip of `shape` (1, F, C, h, w), on the CPU.

    Raises CheckpointUnfit, with the reason, for anything that this very run could not have written.
    """
    try:
        tensors = load(body)
        header = _header(body)
        index, steps = int(header["step"]), int(belongs["steps"])
        z, x_0 = tensors["z"], tensors["x_0"]
    except (SafetensorError, KeyError, ValueError) as error:
        raise CheckpointUnfit(f"it cannot be read: {type(error).__name__}: {error}") from error
    for name, value in belongs.items():
        if header.get(name) != value:
            raise CheckpointUnfit(f"its {name!r} is not this run's")
    if not 1 <= index <= steps:
        raise CheckpointUnfit(f"its step {index} is not one of {steps}")
    for x in (z, x_0):
        _check(x, shape)
    return SampleStep(index, steps, z, x_0)


def _header(body: bytes) -> dict[str, str]:
    """The strings of a safetensors header: 8 bytes of length, little-endian, then JSON."""
    length = int.from_bytes(body[:8], "little")
    if length > _HEADER_MAX_BYTES:
        raise ValueError(f"a header of {length} bytes, at most {_HEADER_MAX_BYTES} are read")
    strings: dict[str, str] = json.loads(body[8 : 8 + length])["__metadata__"]
    return strings


def _check(x: Tensor, shape: tuple[int, ...]) -> None:
    if x.dtype is not torch.float32 or tuple(x.shape) != shape:
        raise CheckpointUnfit(f"it holds {x.dtype} {tuple(x.shape)}, this run {torch.float32} {shape}")
    if not bool(torch.isfinite(x).all()):
        raise CheckpointUnfit("its latents are not finite")
