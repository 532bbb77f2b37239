"""What a model can be asked for beside a prompt. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class KeyframePlace(StrEnum):
    """Which frame of the video the keyframe is."""

    FIRST = "first"
    CENTRE = "centre"


@dataclass(frozen=True)
class Abilities:
    """`keyframe` None: the video comes from the text alone, there is no stage 1 and no picture is taken.

    `paints`: it makes keyframes from prompts; without, every order must bring a picture. `noise_prior`: the
    starting latents may lean towards the keyframe (gamma above 0). `resumes`: a stage 2 that was broken off
    goes on behind a step that was kept (`VideoOrder.after`); without, it begins again.
    """

    keyframe: KeyframePlace | None
    paints: bool
    negative_prompt: bool
    noise_prior: bool
    resumes: bool = False


MICROCINEMA = Abilities(
    keyframe=KeyframePlace.CENTRE, paints=True, negative_prompt=True, noise_prior=True, resumes=True
)
"""What every MicroCinema model can do."""
