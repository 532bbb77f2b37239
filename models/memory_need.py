"""What a model needs of a device's memory, as numbers. Torch-free; `models.memory` counts them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Activations:
    """Peak bytes beside the weights, by what runs; each grows in proportion to the number that run together.

    denoise: one video's step under guidance. encode: one keyframe into latents. decode: one frame, or the
    whole clip of a pipeline that decodes it in one call. All for the largest size (width, height in pixels)
    and length (frames). work: floating-point operations of one video's longest piece between two signs of
    life. in_turn: the orders of a batch run one after the other, so that a batch takes no more than one.
    """

    denoise: int
    encode: int
    decode: int
    width: int
    height: int
    frames: int
    work: int = 0
    in_turn: bool = False


@dataclass(frozen=True)
class MemoryNeed:
    """weights: bytes by component. activations: None for networks of a build that cannot be counted.

    paint: peak bytes beside the weights while a picture model of its own makes one picture; 0 without one.
    paint_work: floating-point operations of that one's longest piece between two signs of life. prompt_work:
    of the prompts that public pipelines encode before their first sign; 0 where that is next to nothing.
    """

    name: str
    weights: Mapping[str, int]
    activations: Activations | None
    paint: int = 0
    paint_work: int = 0
    prompt_work: int = 0

    @property
    def weight_bytes(self) -> int:
        """Of all components."""
        return sum(self.weights.values())

    def beside(self, other: MemoryNeed, role: str) -> MemoryNeed:
        """This model with `other` resident next to it for the stage `role`; activations stay this one's."""
        added = {f"{role} {component}": size for component, size in other.weights.items()}
        return replace(
            self,
            weights={**self.weights, **added},
            paint=other.paint,
            paint_work=other.paint_work,
            prompt_work=max(self.prompt_work, other.prompt_work),
        )
