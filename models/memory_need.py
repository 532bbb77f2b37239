"""What a model needs of a device's memory, as numbers. Torch-free; `models.memory` counts them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Activations:
    """Peak bytes beside the weights, by what runs; each grows in proportion to the number that run together.

    denoise: one video's step under guidance. encode: one keyframe into latents. decode: one frame.
    All for the largest size (width, height in pixels) and length (frames).
    """

    denoise: int
    encode: int
    decode: int
    width: int
    height: int
    frames: int


@dataclass(frozen=True)
class MemoryNeed:
    """weights: bytes by component. activations: None for networks that are not ours and cannot be counted.

    paint: peak bytes beside the weights while a picture model of its own makes one picture; 0 without one.
    """

    name: str
    weights: Mapping[str, int]
    activations: Activations | None
    paint: int = 0

    @property
    def weight_bytes(self) -> int:
        """Of all components."""
        return sum(self.weights.values())

    def beside(self, other: MemoryNeed, role: str) -> MemoryNeed:
        """This model with `other` resident next to it for the stage `role`; activations stay this one's."""
        added = {f"{role} {component}": size for component, size in other.weights.items()}
        return MemoryNeed(self.name, {**self.weights, **added}, self.activations, other.paint)
