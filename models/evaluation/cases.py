"""What is asked of the model: held-out prompts, with its own keyframes or with given pictures."""

import hashlib
from dataclasses import dataclass, replace
from typing import Literal, get_args

from models.evaluation.oracle import Verdict
from models.evaluation.silhouette import Pixels
from models.training.captions import held_out_prompts
from models.training.world import COLORS, Scene, moments_of, render_moments

Source = Literal["text", "picture", "conflict"]
SOURCES: tuple[Source, ...] = get_args(Source)

PROMPT_SEED = 2026  # chosen once; which prompts are asked never depends on what a model made of them


@dataclass(frozen=True, eq=False)
class Case:
    """One film to make and what it must show.

    scene: one rendering of what is asked. keyframe: the picture handed in, uint8 (H, W, 3); None
    when stage 1 is to paint it.
    """

    seed: int
    prompt: str
    asked: Verdict
    scene: Scene
    keyframe: Pixels | None


def cases(count: int, source: Source, frames: int, side: int) -> list[Case]:
    """`count` held-out prompts with seeds 0 to count - 1; every prompt gets one try.

    text: stage 1 paints the keyframe. picture: a rendered picture of the scene is handed in, the
    centre frame of `frames`, `side` pixels square. conflict: that picture has another colour than
    the prompt says, and the picture must win.
    """
    if count < 1:
        raise ValueError(f"count is {count}; it must be at least 1")
    made = []
    for seed, (prompt, described) in enumerate(held_out_prompts(count, PROMPT_SEED)):
        scene = replace(described, color=other_color(described.color)) if source == "conflict" else described
        keyframe = None if source == "text" else centre_frame(scene, frames, side)
        asked = Verdict(scene.color, scene.shape, scene.background, scene.motion)
        made.append(Case(seed, prompt, asked, scene, keyframe))
    return made


def other_color(color: str) -> str:
    """The next colour of the world."""
    names = list(COLORS)
    return names[(names.index(color) + 1) % len(names)]


def centre_frame(scene: Scene, frames: int, side: int) -> Pixels:
    """The rendered frame F // 2 of a clip of F frames, uint8 (side, side, 3)."""
    centre = frames // 2
    picture: Pixels = render_moments(scene, moments_of(frames)[centre : centre + 1], side)[0]
    return picture


def fingerprint(made: list[Case], *settings: object) -> str:
    """A sha256 of everything that decides which films come out, so that old films are never judged as new."""
    digest = hashlib.sha256(repr(settings).encode())
    for case in made:
        digest.update(repr((case.seed, case.prompt, case.scene)).encode())
        if case.keyframe is not None:
            digest.update(case.keyframe.tobytes())
    return digest.hexdigest()
