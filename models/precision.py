"""Where a network runs and in which number format: decided here and nowhere else (ADR 0005).

CUDA runs fp16, or what a component asks for. CPUs run fp32: their fp16 matrix products are emulated and
hundreds of times slower.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

# Published in bf16, and known to overflow fp16's 65504: diffusion transformers and the T5 text encoders.
_BF16_TEXT = ("t5", "umt5", "mt5")
NO_WISHES: Mapping[str, object] = MappingProxyType({})


def choose_device(name: str = "auto") -> torch.device:
    """ "auto" takes the GPU when there is one; anything else is torch's own name for a device."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device {name!r}: this machine or this build of torch has no CUDA")
    return device


def network_dtype(device: torch.device, config: Mapping[str, object] = NO_WISHES) -> torch.dtype:
    """The format inside a network, weights and activations: what its config asks for, or the device's."""
    return component_dtype(config, device, torch.float16 if device.type == "cuda" else torch.float32)


def component_dtype(config: Mapping[str, object], device: torch.device, default: torch.dtype) -> torch.dtype:
    """`default`, unless on CUDA `config`, a component's own config.json as it stands in the folder, asks

    - for fp32, by `force_upcast` (autoencoders whose decoder overflows in fp16, such as SDXL's);
    - for bf16, by naming it as its format, or by being a diffusion transformer or a T5 text encoder.
    What it says of fp16 and fp32 as formats of *storage* changes nothing.
    """
    if device.type != "cuda":
        return default
    if config.get("force_upcast") is True:
        return torch.float32
    stored = str(config.get("dtype") or config.get("torch_dtype")).removeprefix("torch.")
    is_transformer = "Transformer" in str(config.get("_class_name", ""))
    if stored == "bfloat16" or is_transformer or config.get("model_type") in _BF16_TEXT:
        return torch.bfloat16
    return default


@dataclass(frozen=True)
class PrecisionBorder:
    """The line between a sampler's float32 and one network's own format; nothing else casts within a step."""

    inside: torch.dtype

    def latents(self, z: Tensor) -> Tensor:
        """Latents on their way in; all but float32 are refused: a loss outside must not go unseen."""
        if z.dtype is not torch.float32:
            raise TypeError(f"latents must be float32 outside the networks, got {z.dtype}")
        return z.to(self.inside)

    def condition(self, x: Tensor) -> Tensor:
        """What accompanies the latents (text embeddings, pictures), in whatever format it comes."""
        return x.to(self.inside)

    @staticmethod
    def outward(x: Tensor) -> Tensor:
        """A network's product, as float32."""
        return x.float()
