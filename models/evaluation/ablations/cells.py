"""Sample one cell of the study and measure it; every film and every finished cell is a file."""

import json
from collections.abc import Generator, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from torch import Tensor

from models.cinema import Film
from models.evaluation.ablations.features import Features, RandomConvolutions, Ruler
from models.evaluation.ablations.frechet import Measured, measure
from models.evaluation.ablations.study import Cell, Study
from models.evaluation.cases import Case, cases, fingerprint
from models.evaluation.evaluate import judge_film, shoot
from models.evaluation.films import Recipe
from models.evaluation.reconstruction import through
from models.evaluation.report import Judged
from models.evaluation.score import ATTRIBUTES, Spread, tallies
from models.evaluation.silhouette import Pixels
from models.image_to_video import ImageToVideo
from models.orders import PictureOrder, Progress, VideoOrder
from models.spec import CinemaSpec
from models.text import TextEncoder
from models.text_to_image import TextToImage
from models.training.captions import draw_scenes
from models.training.loop import Clock, write_atomically
from models.training.train_image_to_video import StageTwo
from models.training.world import render
from models.vae import PictureCodec

RULER_SEED = 7  # of the random convolutions, of the clips behind the axes, and of the bootstrap


class TrialPipeline:
    """A trial's networks as the evaluation's pipeline."""

    def __init__(self, stage: StageTwo, spec: CinemaSpec, weight_hash: str) -> None:
        self.spec, self.weight_hash = spec, weight_hash
        text = TextEncoder(stage.tokenizer, stage.text_encoder)
        self._painter = TextToImage(stage.unet, text, stage.codec, stage.schedule, spec.vae_factor)
        self._animator = ImageToVideo(stage.denoiser, text, stage.codec, stage.schedule)

    def paint(self, orders: Sequence[PictureOrder]) -> Generator[Progress, None, list[Pixels]]:
        """Stage 1."""
        return self._painter.paint(orders)

    def animate(
        self, orders: Sequence[VideoOrder], keyframes: Sequence[Pixels]
    ) -> Generator[Progress, None, Tensor]:
        """Stage 2 of the trial."""
        return self._animator.animate(orders, keyframes)

    def decode(self, latents: Tensor) -> Iterator[Pixels]:
        """Latents (F, C, h, w) -> frames."""
        return self._animator.decode(latents)


def asked_of_every_cell(study: Study, spec: CinemaSpec) -> list[Case]:
    """The prompts with rendered keyframes: all of them with their first seeds, then with their second.

    The same in every cell, noise included: cells differ by what the study changes and by nothing else.
    """
    made = cases(study.prompts, "picture", spec.frames.default, spec.sizes[0][0])
    return [replace(case, seed=turn * len(made) + case.seed) for turn in range(study.seeds) for case in made]


@dataclass(frozen=True, eq=False)
class Yardstick:
    """The ruler and what it measures from: rendered clips of scenes that no training saw."""

    ruler: Ruler
    rendered: Features

    @classmethod
    def of(cls, study: Study, spec: CinemaSpec) -> "Yardstick":
        """Fitted to `rendered_clips` clips; takes a few seconds for each hundred."""
        scenes = draw_scenes(study.rendered_clips, RULER_SEED, "held_out")
        clips = [render(scene, spec.frames.default, spec.sizes[0][0]) for scene in scenes]
        ruler = Ruler.of(RandomConvolutions(RULER_SEED), clips, study.dims)
        return cls(ruler, ruler(clips))

    def measure(self, clips: Sequence[Pixels], study: Study) -> Measured:
        """Distance from the rendered clips; `study.prompts` divides their number. All calls draw alike."""
        made = self.ruler(clips)
        return measure(self.rendered, made, study.prompts, study.bootstrap, RULER_SEED)


def measure_cell(
    cell: Cell,
    study: Study,
    pipeline: TrialPipeline,
    yardstick: Yardstick,
    folder: Path,
    clock: Clock,
) -> Path:
    """Make the films that are missing, judge them, write the cell's file in `folder`; returns it."""
    recipe = replace(Recipe.of(pipeline.spec), gamma=cell.gamma)
    path = cell_file(cell, study, pipeline.spec, pipeline.weight_hash, folder)
    if path.exists():
        return path
    asked = asked_of_every_cell(study, pipeline.spec)
    films = shoot(pipeline, recipe, asked, path.with_suffix(""), study.batch, clock)
    judged = [judge_film(case, film, pipeline.spec.fps) for case, film in zip(asked, films, strict=True)]
    found = summary(cell, study, films, judged, yardstick)
    write_atomically(path, lambda partial: _write(partial, found))
    return path


def cell_file(cell: Cell, study: Study, spec: CinemaSpec, weights: str, folder: Path) -> Path:
    """Where a cell's figures are kept; other weights, prompts, recipe or ruler mean another file."""
    recipe = replace(Recipe.of(spec), gamma=cell.gamma)
    asked = asked_of_every_cell(study, spec)
    run = fingerprint(asked, weights, recipe, study.rendered_clips, study.dims, study.bootstrap, RULER_SEED)
    return folder / f"{cell.name}-{run[:12]}.json"


def summary(
    cell: Cell, study: Study, films: Sequence[Film], judged: Sequence[Judged], yardstick: Yardstick
) -> dict[str, object]:
    """A cell's figures as plain values; `by_seed` repeats the main ones for each sampling seed alone."""
    clips = [film.frames for film in films]
    measured = yardstick.measure(clips, study)
    turns = [slice(turn * study.prompts, (turn + 1) * study.prompts) for turn in range(study.seeds)]
    spreads = {
        "centre_psnr_db": Spread.of(each.centre_psnr for each in judged),
        "background_drift_of_255": Spread.of(each.drift for each in judged),
    }
    return {
        "path": cell.trial.path,
        "lambda": cell.trial.appearance_weight,
        "gamma": cell.gamma,
        "films": len(films),
        "distance": measured.distance.as_json(),
        "draws": [round(value, 6) for value in measured.draws],
        "scores": scores(judged),
        "by_seed": [
            {"distance": yardstick.measure(clips[turn], study).value, "scores": scores(judged[turn])}
            for turn in turns
        ],
        **{name: None if spread is None else asdict(spread) for name, spread in spreads.items()},
    }


def scores(judged: Sequence[Judged]) -> dict[str, dict[str, float]]:
    """The oracle's tallies as plain values."""
    counted = tallies([(each.asked, each.served) for each in judged], ATTRIBUTES)
    return {name: tally.as_json() for name, tally in counted.items()}


def measure_ruler(
    study: Study, spec: CinemaSpec, codec: PictureCodec, yardstick: Yardstick
) -> dict[str, object]:
    """Distances of clips whose fault is known, as many as a cell has prompts: what the ruler can see.

    rendered: no fault at all, so only chance. autoencoder: encoded and decoded. still: the keyframe in
    every frame. shuffled: the right frames in a wrong order. exchanged: after the centre, another clip.
    """
    asked = cases(study.prompts, "picture", spec.frames.default, spec.sizes[0][0])
    clips = [render(case.scene, spec.frames.default, spec.sizes[0][0]) for case in asked]
    centre = spec.frames.default // 2
    rng = np.random.default_rng(RULER_SEED)
    damaged = {
        "rendered": clips,
        "autoencoder": [through(codec, clip) for clip in clips],
        "still": [np.repeat(clip[centre : centre + 1], len(clip), axis=0) for clip in clips],
        "shuffled": [clip[rng.permutation(len(clip))] for clip in clips],
        "exchanged": [
            np.concatenate([clip[:centre], other[centre:]])
            for clip, other in zip(clips, [*clips[1:], clips[0]], strict=True)
        ],
    }
    return {name: yardstick.measure(made, study).distance.as_json() for name, made in damaged.items()}


def _write(path: Path, found: object) -> None:
    path.write_text(json.dumps(found, indent=1, allow_nan=False) + "\n")
