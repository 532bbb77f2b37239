"""Where a network runs and in which number format: decided here and nowhere else.

CUDA runs fp16. CPUs run fp32: their fp16 matrix products are emulated and hundreds of times slower.
"""

from __future__ import annotations

import torch


def choose_device(name: str = "auto") -> torch.device:
    """ "auto" takes the GPU when there is one; anything else is torch's own name for a device."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device {name!r}: this machine or this build of torch has no CUDA")
    return device


def network_dtype(device: torch.device) -> torch.dtype:
    """The format of weights and activations inside the networks."""
    return torch.float16 if device.type == "cuda" else torch.float32
