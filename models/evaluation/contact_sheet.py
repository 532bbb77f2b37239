"""Contact sheets: what the model makes of a few prompts, one row of frames per prompt.

    python -m models.evaluation.contact_sheet --weights models/micro --prompts 24 --out docs/images/sheet.png
    python -m models.evaluation.contact_sheet --prompt "a red circle moving left on a white background"
    python -m models.evaluation.contact_sheet --misses-of var/evaluation/RUN.json --prompts 8 --out misses.png

Prompts are drawn by a fixed seed from the held-out ones, or given; misses come in order of their seeds from
the report of an evaluation, with what the oracle saw. Nobody picks the good ones.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from models.cinema import MICRO_WEIGHTS, Cinema, Film
from models.errors import BadWeights
from models.evaluation.films import Recipe, make_films
from models.evaluation.misses import first_misses
from models.training.captions import held_out_prompts

GAP = 4  # pixels between pictures
MARGIN = 12
LETTERS = 16  # height of the prompt's letters, pixels; less where the row is too short for it
SMALL_LETTERS = 12
PAPER, INK, FAINT = (255, 255, 255), (30, 30, 30), (120, 120, 120)
BATCH = 8


@dataclass(frozen=True, eq=False)
class Row:
    """A film over its prompt and, if there is one, a remark in fainter letters."""

    prompt: str
    film: Film
    remark: str = ""


def contact_sheet(rows: Sequence[Row], columns: int = 8, scale: int = 2) -> Image.Image:
    """One row per film: its keyframe, then `columns` frames in equal steps from first to last.

    Pictures are enlarged `scale` times without smoothing; the prompt stands under its row.
    """
    if not rows:
        raise ValueError("rows is empty; a contact sheet needs at least 1 film")
    if columns < 1 or scale < 1:
        raise ValueError(f"columns is {columns} and scale is {scale}; both must be at least 1")
    height, width = (side * scale for side in rows[0].film.keyframe.shape[:2])
    length = 2 * MARGIN + (columns + 1) * (width + GAP) + MARGIN
    remarked = any(row.remark for row in rows)
    step = height + LETTERS * (2 if remarked else 1) + 2 * MARGIN
    sheet = Image.new("RGB", (length, 2 * MARGIN + LETTERS + len(rows) * step), PAPER)
    pen = ImageDraw.Draw(sheet)
    first = 2 * MARGIN + width + GAP
    small, total = ImageFont.load_default(SMALL_LETTERS), len(rows[0].film.frames)
    pen.text((MARGIN, MARGIN), "keyframe", FAINT, small)
    pen.text((first, MARGIN), f"{min(columns, total)} of {total} frames", FAINT, small)
    for number, row in enumerate(rows):
        top = MARGIN + LETTERS + GAP + number * step
        for left, picture in zip(
            [MARGIN, *range(first, length, width + GAP)], pictures_of(row.film, columns), strict=False
        ):
            large = Image.fromarray(picture).resize((width, height), Image.Resampling.NEAREST)
            sheet.paste(large, (left, top))
            pen.rectangle((left - 1, top - 1, left + width, top + height), outline=FAINT)
        font = fitting_font(row.prompt, length - 2 * MARGIN)
        pen.text((MARGIN, top + height + GAP), row.prompt, INK, font)
        if row.remark:
            font = fitting_font(row.remark, length - 2 * MARGIN, SMALL_LETTERS)
            pen.text((MARGIN, top + height + GAP + LETTERS + GAP), row.remark, FAINT, font)
    return sheet


def pictures_of(film: Film, columns: int) -> list[np.ndarray]:
    """The keyframe and `columns` evenly spaced frames; fewer when the film is shorter."""
    picked = np.unique(np.linspace(0, len(film.frames) - 1, columns).round().astype(int))
    return [film.keyframe, *film.frames[picked]]


def fitting_font(
    text: str, width: int, largest: int = LETTERS
) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The largest letters up to `largest` in which the text is at most `width` pixels wide."""
    for size in range(largest, 6, -1):
        font = ImageFont.load_default(size)
        if font.getlength(text) <= width:
            return font
    return ImageFont.load_default(6)


def filmed_rows(cinema: Cinema, asked: Sequence[tuple[str, int]]) -> list[Row]:
    """Make a film of every (prompt, seed), in the model's own way."""
    films: list[Film] = []
    for start in range(0, len(asked), BATCH):
        films += make_films(cinema, Recipe.of(cinema.spec), asked[start : start + BATCH])
        print(f"{len(films)} of {len(asked)} films", flush=True)
    return [Row(prompt, film) for (prompt, _), film in zip(asked, films, strict=True)]


def missed_rows(result: Path, most: int) -> list[Row]:
    """The first `most` misses of an evaluation, with what the oracle saw."""
    return [Row(miss.prompt, miss.film, miss.remark) for miss in first_misses(result, most)]


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description="Draw a contact sheet of a model's films.")
    parser.add_argument("--weights", type=Path, default=MICRO_WEIGHTS, help="weights folder")
    parser.add_argument("--prompts", type=int, default=6, help="number of held-out prompts, or of misses")
    rows = parser.add_mutually_exclusive_group()
    rows.add_argument("--prompt", action="append", help="show this prompt instead; may be repeated")
    rows.add_argument("--misses-of", type=Path, help="show what went wrong in this evaluation (its JSON)")
    parser.add_argument(
        "--seed", type=int, default=0, help="draws the prompts; the films' seeds count up from it"
    )
    parser.add_argument("--columns", type=int, default=8, help="frames per row")
    parser.add_argument("--scale", type=int, default=2, help="screen pixels per pixel of a frame")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--out", type=Path, default=Path("var/evaluation/contact_sheet.png"))
    chosen = parser.parse_args(argv)
    for name, least in (("prompts", 1), ("columns", 1), ("scale", 1), ("seed", 0)):
        if getattr(chosen, name) < least:
            parser.error(f"--{name} is {getattr(chosen, name)}; it must be at least {least}")
    return chosen


def main(argv: Sequence[str] | None = None) -> None:
    """Make or load the films and write the sheet."""
    chosen = arguments(argv)
    try:
        if chosen.misses_of is not None:
            rows = missed_rows(chosen.misses_of, chosen.prompts)
        else:
            cinema = Cinema.load(chosen.weights, device=chosen.device)
            texts = chosen.prompt or [prompt for prompt, _ in held_out_prompts(chosen.prompts, chosen.seed)]
            rows = filmed_rows(cinema, [(text, chosen.seed + n) for n, text in enumerate(texts)])
    except (BadWeights, ValueError, FileNotFoundError) as error:
        raise SystemExit(f"contact_sheet: {error}") from error
    if not rows:
        raise SystemExit(f"contact_sheet: {chosen.misses_of} has no misses; nothing to draw")
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    contact_sheet(rows, chosen.columns, chosen.scale).save(chosen.out, optimize=True, lossless=True)
    print(chosen.out)


if __name__ == "__main__":
    main()
