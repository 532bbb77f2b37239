"""Hold the model against every bar of its card: videos from prompts, from pictures, and in conflict.

    python -m models.evaluation.acceptance --weights models/micro                  # 400 prompts
    python -m models.evaluation.acceptance --weights models/micro --prompts 4      # a quick look

Films are kept while they are made, so a stopped run goes on where it was. Prints each figure beside its
bar; with --enforce it ends with 1 when one is missed. OUT/<model>-bars-<prompts>.json and .md hold the
same; with --publish they are written there, too, as evaluation-<model>.json and .md.
"""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from models.cinema import MICRO_WEIGHTS
from models.evaluation.bars import (
    Figure,
    autoencoder_figures,
    conflict_figures,
    film_figures,
    markdown,
    missed,
    table,
)
from models.evaluation.evaluate import Clock, Evaluation, Setting, evaluate, open_model
from models.evaluation.films import Pipeline, Recipe
from models.vae import PictureCodec

MOST_PICTURES = 100  # of the prompts, as many at the most are asked again with a picture, and in conflict


def hold_against_bars(
    pipeline: Pipeline, codec: PictureCodec | None, prompts: int, setting: Setting
) -> tuple[list[Figure], list[Evaluation]]:
    """All figures, and the evaluations behind them: text, picture, conflict."""
    pictures = min(prompts, MOST_PICTURES)
    text = evaluate(pipeline, codec, "text", prompts, setting)
    picture = evaluate(pipeline, None, "picture", pictures, setting)
    conflict = evaluate(pipeline, None, "conflict", pictures, setting)
    figures = [
        *film_figures("from a prompt", text.report),
        *autoencoder_figures("held-out frames", text.report.reconstruction),
        *film_figures("from a picture", picture.report),
        *conflict_figures("in conflict", conflict.report),
    ]
    return figures, [text, picture, conflict]


def as_json(
    figures: Sequence[Figure], pipeline: Pipeline, prompts: int, setting: Setting
) -> dict[str, object]:
    """Everything about the run that a reader needs to repeat it, and its figures."""
    return {
        "model": pipeline.spec.name,
        "weight_hash": pipeline.weight_hash,
        "command": f"python -m models.evaluation.acceptance --prompts {prompts}",
        "prompts": prompts,
        "recipe": asdict(setting.recipe),
        "device": setting.device,
        "missed": len(missed(figures)),
        "figures": [asdict(figure) | {"met": figure.met} for figure in figures],
    }


def as_markdown(figures: Sequence[Figure], pipeline: Pipeline, prompts: int, setting: Setting) -> str:
    """The table for the model card, under a sentence that says where it comes from."""
    steps = f"{pipeline.spec.picture_steps} + {setting.recipe.steps} steps"
    return (
        f"{pipeline.spec.name}, weights `{pipeline.weight_hash[:12]}`: {prompts} held-out prompts, "
        f"seeds 0 to {prompts - 1}, one try each, {steps}, on {setting.device},\n"
        "through both stages and H.264, judged by the oracle. `make evaluate-micro` makes this table.\n\n"
        f"{markdown(figures)}\n"
    )


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description="Hold a model of the micro world against its bars.")
    parser.add_argument("--weights", type=Path, default=MICRO_WEIGHTS, help="weights folder")
    parser.add_argument("--prompts", type=int, default=400, help="held-out prompts; seeds from 0 up")
    parser.add_argument("--batch", type=int, default=8, help="films made at once")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--out", type=Path, default=Path("var/evaluation"), help="films and reports")
    parser.add_argument("--publish", type=Path, help="a folder that gets the results as well, such as docs")
    parser.add_argument("--enforce", action="store_true", help="end with 1 when a bar is missed")
    chosen = parser.parse_args(argv)
    for name in ("prompts", "batch"):
        if getattr(chosen, name) < 1:
            parser.error(f"--{name} is {getattr(chosen, name)}; it must be at least 1")
    return chosen


def main(argv: Sequence[str] | None = None, clock: Clock = time.monotonic) -> int:
    """0, or 1 with --enforce and a missed bar."""
    chosen = arguments(argv)
    cinema, codec = open_model(chosen.weights, chosen.device)
    setting = Setting(Recipe.of(cinema.spec), cinema.device.type, chosen.out, chosen.batch, clock)
    figures, evaluations = hold_against_bars(cinema, codec, chosen.prompts, setting)
    plain = json.dumps(as_json(figures, cinema, chosen.prompts, setting), indent=1, allow_nan=False) + "\n"
    card = as_markdown(figures, cinema, chosen.prompts, setting)
    named = [chosen.out / f"{cinema.spec.name}-bars-{chosen.prompts}"]
    if chosen.publish is not None:
        named.append(chosen.publish / f"evaluation-{cinema.spec.name.removeprefix('microcinema-')}")
    for stem in named:
        stem.with_name(f"{stem.name}.json").write_text(plain)
        stem.with_name(f"{stem.name}.md").write_text(card)
    print(f"\n{table(figures)}\n")
    for each in evaluations:
        print(f"films: {each.folder}  report: {each.path}")
    low = missed(figures)
    print(f"{len(figures) - len(low)} of {len(figures)} bars met; results: {named[-1]}.json and .md")
    return 1 if chosen.enforce and low else 0


if __name__ == "__main__":
    raise SystemExit(main())
