"""What a stage's product is owed to, beside the order."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Origin:
    """Exact weights, and the number format that the denoising network computes in: `float16`, ..."""

    weight_hash: str
    dtype: str


def format_name(dtype: object) -> str:
    """torch's name of a format, without its prefix."""
    return str(dtype).removeprefix("torch.")
