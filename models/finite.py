"""NaN and infinity stop a video here: decoded, they would be black pictures that look like success."""

from __future__ import annotations

import torch
from torch import Tensor

from models.errors import NonFinite


def check_finite(x: Tensor, error: type[NonFinite], sentence: str) -> None:
    """Raise `error(sentence)` if `x` holds NaN or infinity. One reduction and one wait for the device."""
    if not bool(torch.isfinite(x).all()):
        raise error(sentence)
