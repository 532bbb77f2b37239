"""What the world is called: phrasings, and the split that keeps combinations out of training."""

import hashlib
from functools import cache
from typing import Literal

import numpy as np

from models.training.world import Combination, Scene, all_combinations, place

Split = Literal["train", "held_out"]

TRAIN_TEMPLATES = (
    "a {color} {shape} {motion} on a {background} background",
    "{color} {shape} {motion}, {background} background",
    "a video of a {color} {shape} {motion} on {background}",
    "a {color} {shape} on a {background} background, {motion}",
    "on a {background} background, a {color} {shape} {motion}",
    "{background} background with a {color} {shape} {motion}",
    "the {color} {shape} is {motion} on a {background} background",
    "an animation of one {color} {shape} {motion} in front of a {background} background",
    "a {shape} in {color} {motion} on a {background} background",
    "a clip showing a {color} {shape} {motion}, with a {background} background",
)
# Never trained on: evaluation asks in words the model knows, in an order that it does not.
HELD_OUT_TEMPLATES = (
    "a {color} {shape} is {motion} in front of a {background} background",
    "a clip of the {color} {shape} {motion} on {background}",
    "{motion} on a {background} background, a {color} {shape}",
)
# People leave things out; the model then chooses the rest itself.
PARTIAL_TEMPLATES = (
    "a {color} {shape}",
    "a {color} {shape} {motion}",
    "a {color} {shape} on a {background} background",
)
PARTIAL_SHARE = 0.05

MOTION_PHRASES: dict[str, tuple[str, ...]] = {
    "left": ("moving left", "sliding left", "moving to the left"),
    "right": ("moving right", "sliding right", "moving to the right"),
    "up": ("moving up", "sliding up", "rising"),
    "down": ("moving down", "sliding down", "falling"),
    "growing": ("growing", "getting bigger", "growing larger"),
    "shrinking": ("shrinking", "getting smaller", "shrinking smaller"),
    "rotating": ("rotating", "spinning", "turning"),
    "still": ("standing still", "staying still", "not moving"),
}
BACKGROUND_WORDS: dict[str, tuple[str, ...]] = {"grey": ("grey", "gray")}

HELD_OUT_PERCENT = 23
_SALT = "microcinema-micro/combinations/1"  # changing it changes what the shipped weights never saw


def combination_split(color: str, shape: str, background: str, motion: str) -> Split:
    """Which side of the fixed split a combination is on.

    The first eight bytes of a sha256 over the attributes, modulo 100: about HELD_OUT_PERCENT of all
    combinations never reach any training (VAE, tokenizer, either stage).
    """
    name = "|".join((_SALT, color, shape, background, motion))
    draw = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") % 100
    return "held_out" if draw < HELD_OUT_PERCENT else "train"


def split_of(combination: Combination) -> Split:
    """combination_split of a Combination or a Scene."""
    return combination_split(combination.color, combination.shape, combination.background, combination.motion)


@cache
def combinations(split: Split) -> tuple[Combination, ...]:
    """All combinations on one side of the split, in a fixed order."""
    return tuple(combination for combination in all_combinations() if split_of(combination) == split)


@cache
def _trained_moving(motion: str) -> tuple[Combination, ...]:
    return tuple(combination for combination in combinations("train") if combination.motion == motion)


def caption(combination: Combination, rng: np.random.Generator, templates: tuple[str, ...]) -> str:
    """One phrasing of the combination, drawn from `templates` and the trained synonyms."""
    template = templates[int(rng.integers(len(templates)))]
    phrases = MOTION_PHRASES[combination.motion]
    words = BACKGROUND_WORDS.get(combination.background, (combination.background,))
    return template.format(
        color=combination.color,
        shape=combination.shape,
        background=words[int(rng.integers(len(words)))],
        motion=phrases[int(rng.integers(len(phrases)))],
    )


def training_caption(combination: Combination, rng: np.random.Generator) -> str:
    """A caption as the training sees it: mostly complete, now and then with something left out."""
    partial = rng.random() < PARTIAL_SHARE
    return caption(combination, rng, PARTIAL_TEMPLATES if partial else TRAIN_TEMPLATES)


def other_look(combination: Combination, rng: np.random.Generator) -> Combination:
    """The same motion in another colour, on another background and of any shape, of the trained combinations.

    Stage 2 gets its picture from z^c. A caption that contradicts it in looks, and in nothing else, teaches
    that the picture wins there, while motion is the text's to say.
    """
    choices = [
        each
        for each in _trained_moving(combination.motion)
        if each.color != combination.color and each.background != combination.background
    ]
    return choices[int(rng.integers(len(choices)))]


def draw_scenes(count: int, seed: int, split: Split) -> list[Scene]:
    """`count` scenes from one side of the split; motions come equally often."""
    rng = np.random.default_rng(seed)
    by_motion: dict[str, list[Combination]] = {}
    for combination in combinations(split):
        by_motion.setdefault(combination.motion, []).append(combination)
    motions = sorted(by_motion)
    scenes: list[Scene] = []
    for number in range(count):
        choices = by_motion[motions[number % len(motions)]]
        scenes.append(place(choices[int(rng.integers(len(choices)))], rng))
    return [scenes[i] for i in rng.permutation(count)]


def held_out_prompts(
    n: int, seed: int, templates: tuple[str, ...] = TRAIN_TEMPLATES + HELD_OUT_TEMPLATES
) -> list[tuple[str, Scene]]:
    """`n` complete captions of combinations that no training saw, each with a scene it describes."""
    rng = np.random.default_rng([seed, 1])
    return [(caption(scene, rng, templates), scene) for scene in draw_scenes(n, seed, "held_out")]
