"""A small extra lesson for the text encoder of stage 1: say what the caption says.

Pictures alone teach it colours and backgrounds early, shapes late and motions never, because no single
frame shows one. Stage 2 freezes the text encoder, so what is not in its states by then stays out.
The linear heads live only in training; CLIP's encoder, too, comes with a lesson of its own behind it.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.training.world import BACKGROUNDS, COLORS, MOTIONS, SHAPES, Combination

ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "color": tuple(COLORS),
    "shape": SHAPES,
    "background": tuple(BACKGROUNDS),
    "motion": MOTIONS,
}


class CaptionReader(nn.Module):
    """Linear heads, one per attribute, on the state of the last (padding) token, which sees all others."""

    def __init__(self, text_width: int) -> None:
        super().__init__()
        self.heads = nn.ModuleDict(
            {name: nn.Linear(text_width, len(values)) for name, values in ATTRIBUTES.items()}
        )

    def loss(self, states: Tensor, captions: Sequence[str], scenes: Sequence[Combination]) -> Tensor:
        """Cross-entropy summed over attributes, meaned over captions that say anything.

        states: (B, L, width). Captions that leave an attribute out are few and only soften the answer.
        """
        told = [n for n, caption in enumerate(captions) if caption]
        if not told:
            return states.new_zeros(())
        last = states[told, -1]
        total = states.new_zeros(())
        for name, values in ATTRIBUTES.items():
            wanted = torch.tensor([values.index(getattr(scenes[n], name)) for n in told], device=last.device)
            total = total + functional.cross_entropy(self.heads[name](last), wanted)
        return total
