"""Make films of held-out prompts with the real pipeline and count what the oracle sees in them.

    python -m models.evaluation.evaluate --weights models/micro --prompts 200

Films are kept as PNG strips while they are made, so a stopped run goes on where it was, and every
film can be looked at: OUT/<run>/<seed>.png, keyframe first. The report is printed and written to
OUT/<run>.json. Every prompt has one seed and one try.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from models.cinema import MICRO_WEIGHTS, Cinema, Film
from models.errors import BadWeights
from models.evaluation.cases import SOURCES, Case, Source, cases, fingerprint
from models.evaluation.fidelity import background_drift, object_mask, psnr
from models.evaluation.films import Pipeline, Recipe, load_strip, make_films, save_strip
from models.evaluation.oracle import judge
from models.evaluation.reconstruction import reconstruct
from models.evaluation.report import Judged, Report
from models.precision import choose_device, network_dtype
from models.sampler import SAMPLERS
from models.spec import CinemaSpec
from models.training.h264 import round_trip
from models.vae import PictureCodec
from models.weights import load_parts

Clock = Callable[[], float]

MOST_SCENES = 100  # for the autoencoder alone: 1,600 frames say enough, and all are in memory at once


@dataclass(frozen=True)
class Setting:
    """How films are made and where they are kept: on `device` ("cpu", "cuda"), `batch` at a time."""

    recipe: Recipe
    device: str
    out: Path
    batch: int
    clock: Clock


@dataclass(frozen=True)
class Evaluation:
    """What was found; `folder` holds the films, `path` the report as JSON."""

    report: Report
    folder: Path
    path: Path


def shoot(
    pipeline: Pipeline, recipe: Recipe, asked: Sequence[Case], folder: Path, batch: int, clock: Clock
) -> list[Film]:
    """Make every film that `folder` does not hold yet, `batch` at a time; returns all, in order."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {case.seed: folder / f"{case.seed:04d}.png" for case in asked}
    missing = [case for case in asked if not paths[case.seed].exists()]
    begun, kept = clock(), len(asked) - len(missing)
    for start in range(0, len(missing), batch):
        part = missing[start : start + batch]
        given = [case.keyframe for case in part if case.keyframe is not None]
        films = make_films(pipeline, recipe, [(case.prompt, case.seed) for case in part], given or None)
        for case, film in zip(part, films, strict=True):
            save_strip(paths[case.seed], film)
        made = start + len(part)
        each = (clock() - begun) / made
        print(progress_line(kept + made, len(asked), each), flush=True)
    width, _ = pipeline.spec.sizes[0]
    return [load_strip(paths[case.seed], width) for case in asked]


def progress_line(done: int, total: int, each: float) -> str:
    """How far it is; `each` is seconds per film."""
    bar = ("#" * (20 * done // total)).ljust(20, ".")
    return f"films [{bar}] {done}/{total} {each:.1f} s each, {(total - done) * each / 60:.1f} min left"


def judge_film(case: Case, film: Film, fps: int) -> Judged:
    """Put one film before the oracle as a viewer gets it, after H.264; the PSNRs are taken before."""
    served = round_trip(film.frames, fps)
    keyframe, centre = film.keyframe, film.frames[len(film.frames) // 2]
    mask = object_mask(keyframe[None])
    return Judged(
        seed=case.seed,
        prompt=case.prompt,
        asked=case.asked,
        served=judge(served),
        painted=judge(keyframe[None]),
        centre_psnr=psnr(centre, keyframe),
        centre_object_psnr=None if mask is None else psnr(centre, keyframe, mask[0]),
        drift=background_drift(served),
        digest=film.digest,
    )


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Command line; a setting of stage 2 that is left out is the model's own."""
    parser = argparse.ArgumentParser(description="Score a model of the micro world by the oracle.")
    parser.add_argument("--weights", type=Path, default=MICRO_WEIGHTS, help="weights folder")
    parser.add_argument(
        "--prompts", type=int, default=200, help="number of held-out prompts; seeds from 0 up"
    )
    parser.add_argument("--source", choices=SOURCES, default="text", help="where the keyframes come from")
    parser.add_argument("--steps", type=int, help="denoising steps")
    parser.add_argument("--guidance-scale", type=float, help="weight of the text")
    parser.add_argument("--gamma", type=float, help="weight of the keyframe in the starting latents")
    parser.add_argument("--sampler", choices=sorted(SAMPLERS))
    parser.add_argument("--batch", type=int, default=8, help="films made at once")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument(
        "--out", type=Path, default=Path("var/evaluation"), help="folder of films and reports"
    )
    chosen = parser.parse_args(argv)
    for name in ("prompts", "batch", "steps"):
        value = getattr(chosen, name)
        if value is not None and value < 1:
            parser.error(f"--{name} is {value}; it must be at least 1")
    return chosen


def recipe_of(chosen: argparse.Namespace, spec: CinemaSpec) -> Recipe:
    """The model's recipe with what the command line changes."""
    names = ("steps", "guidance_scale", "gamma", "sampler")
    changed = {name: getattr(chosen, name) for name in names if getattr(chosen, name) is not None}
    return replace(Recipe.of(spec), **changed)


def evaluate(
    pipeline: Pipeline, codec: PictureCodec | None, source: Source, count: int, setting: Setting
) -> Evaluation:
    """Make and judge `count` films with keyframes from `source`; films of an earlier run are taken over.

    codec: the model's autoencoder, looked at by itself on the same scenes; None leaves that out.
    """
    spec = pipeline.spec
    asked = cases(count, source, spec.frames.default, spec.sizes[0][0])
    run = fingerprint(asked, pipeline.weight_hash, setting.recipe, setting.device)
    folder = setting.out / f"{spec.name}-{source}-{count}-{run[:12]}"
    print(f"{spec.name}, weights {pipeline.weight_hash[:12]}, on {setting.device}: {count} held-out prompts")
    print(f"keyframes from {source}, seeds 0 to {count - 1}, one try each, {setting.recipe}", flush=True)
    films = shoot(pipeline, setting.recipe, asked, folder, setting.batch, setting.clock)
    judged = [judge_film(case, film, spec.fps) for case, film in zip(asked, films, strict=True)]
    scenes = [case.scene for case in asked[:MOST_SCENES]]
    report = Report.of(judged, reconstruct(codec, scenes, spec) if codec else None)
    head = {
        "model": spec.name,
        "weight_hash": pipeline.weight_hash,
        "keyframes": source,
        "recipe": asdict(setting.recipe),
        "device": setting.device,
    }
    path = folder.with_name(f"{folder.name}.json")
    path.write_text(json.dumps({**head, **report.as_json()}, indent=1) + "\n")
    return Evaluation(report, folder, path)


def open_model(weights: Path, device_name: str) -> tuple[Cinema, PictureCodec]:
    """The pipeline and, by itself, its autoencoder; SystemExit says why when the folder is no model."""
    try:
        device = choose_device(device_name)
        parts = load_parts(weights, device, network_dtype(device))
    except (BadWeights, ValueError) as error:
        raise SystemExit(f"evaluate: {error}") from error
    return Cinema(parts, device), PictureCodec(parts.vae)


def main(argv: Sequence[str] | None = None, clock: Clock = time.monotonic) -> None:
    """Evaluate, print the report, write the JSON."""
    chosen = arguments(argv)
    cinema, codec = open_model(chosen.weights, chosen.device)
    setting = Setting(recipe_of(chosen, cinema.spec), cinema.device.type, chosen.out, chosen.batch, clock)
    found = evaluate(cinema, codec, chosen.source, chosen.prompts, setting)
    print(f"\n{found.report.text()}\n\nfilms: {found.folder}\nreport: {found.path}")


if __name__ == "__main__":
    main()
