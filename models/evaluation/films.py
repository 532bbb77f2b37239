"""Films for looking at and judging: made in batches by the real pipeline, kept as picture strips."""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image
from torch import Tensor

from models.cinema import Film, frame_digest
from models.evaluation.silhouette import Pixels
from models.orders import PictureOrder, Progress, VideoOrder
from models.spec import CinemaSpec
from models.stepwise import result_of


class Pipeline(Protocol):
    """The part of models.cinema.Cinema that makes films."""

    spec: CinemaSpec
    weight_hash: str

    def paint(self, orders: Sequence[PictureOrder]) -> Generator[Progress, None, list[Pixels]]: ...

    def animate(
        self, orders: Sequence[VideoOrder], keyframes: Sequence[Pixels]
    ) -> Generator[Progress, None, Tensor]: ...

    def decode(self, latents: Tensor) -> Iterator[Pixels]: ...


@dataclass(frozen=True)
class Recipe:
    """How films are made, at the model's first size and default number of frames.

    steps, guidance_scale, gamma and sampler are stage 2's; stage 1 keeps the model's own settings.
    """

    steps: int
    guidance_scale: float
    gamma: float
    sampler: str = "dpm++2m"

    @classmethod
    def of(cls, spec: CinemaSpec) -> "Recipe":
        """The model's defaults."""
        return cls(spec.video_steps, spec.video_guidance, spec.noise_prior_gamma)


def make_films(
    pipeline: Pipeline,
    recipe: Recipe,
    prompts: Sequence[tuple[str, int]],
    keyframes: Sequence[Pixels] | None = None,
) -> list[Film]:
    """One film per (prompt, seed), as one batch; given keyframes (H, W, 3) take stage 1's place."""
    spec = pipeline.spec
    width, height = spec.sizes[0]
    if keyframes is None:
        pictures = [
            PictureOrder(prompt, "", seed, spec.picture_steps, spec.picture_guidance, width, height)
            for prompt, seed in prompts
        ]
        keyframes = result_of(pipeline.paint(pictures))
    videos = [
        VideoOrder(
            prompt=prompt,
            negative_prompt="",
            seed=seed,
            steps=recipe.steps,
            guidance_scale=recipe.guidance_scale,
            gamma=recipe.gamma,
            num_frames=spec.frames.default,
            width=width,
            height=height,
            sampler=recipe.sampler,
        )
        for prompt, seed in prompts
    ]
    films = []
    for latents, keyframe in zip(result_of(pipeline.animate(videos, keyframes)), keyframes, strict=True):
        frames = np.stack(list(pipeline.decode(latents)))
        films.append(Film(frames, keyframe, frame_digest(frames)))
    return films


def save_strip(path: Path, film: Film) -> None:
    """Keep a film without loss as one PNG, keyframe and frames side by side; there whole or not at all."""
    strip = np.concatenate([film.keyframe, *film.frames], axis=1)
    partial = path.with_suffix(".partial")
    Image.fromarray(strip).save(partial, format="PNG")
    partial.rename(path)


def load_strip(path: Path, width: int | None = None) -> Film:
    """The film that save_strip kept, whose pictures are `width` pixels wide; None: they are square."""
    with Image.open(path) as picture:
        strip = np.asarray(picture.convert("RGB"))
    width = width or strip.shape[0]
    count, odd = divmod(strip.shape[1], width)
    if odd or count < 2:
        raise ValueError(f"{path} is {strip.shape[1]} pixels wide; it must be 2 or more pictures of {width}")
    pictures = strip.reshape(strip.shape[0], count, width, 3).swapaxes(0, 1)
    frames = np.ascontiguousarray(pictures[1:])
    return Film(frames, np.ascontiguousarray(pictures[0]), frame_digest(frames))
