"""Lines over time, drawn with Pillow: enough to look at numbers that were queried or simulated."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from PIL import Image, ImageDraw, ImageFont

Points = Sequence[tuple[float, float]]
PAPER, INK, FAINT = "#ffffff", "#24292f", "#d8dee4"
COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf", "#8c564b", "#e377c2")
LEFT, RIGHT, TOP = 64, 16, 36
LINE = 15  # pixels of a line of text


def chart(title: str, unit: str, lines: Mapping[str, Points], size: tuple[int, int]) -> Image.Image:
    """One panel: `lines` by their names, points of (seconds, value); NaN and infinity leave gaps."""
    font = ImageFont.load_default(12)
    shown = {name: [p for p in points if math.isfinite(p[1])] for name, points in lines.items()}
    shown = {name: points for name, points in shown.items() if points}
    rows = _rows(list(shown), size[0] - LEFT, font)
    image = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(image)
    draw.text((8, 6), title, INK, font=ImageFont.load_default(13))
    box = (LEFT, TOP, size[0] - RIGHT, size[1] - 2 * LINE - LINE * len(rows) - 2)
    every = [point for points in shown.values() for point in points]
    began, ended = min((x for x, _ in every), default=0.0), max((x for x, _ in every), default=1.0)
    top = _round_up(max((y for _, y in every), default=1.0))

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - began) / max(ended - began, 1e-9)
        return box[0] + across * (box[2] - box[0]), box[3] - max(y, 0.0) / top * (box[3] - box[1])

    for part in range(5):
        value = top * part / 4
        _, y = place(began, value)
        draw.line((box[0], y, box[2], y), FAINT)
        draw.text((LEFT - 6, y), _told(value, unit), INK, font=font, anchor="rm")
    for part in range(5):
        seconds = (ended - began) * part / 4
        x, _ = place(began + seconds, 0)
        draw.text((x, box[3] + 4), f"{seconds:.0f} s", INK, font=font, anchor="ra" if part == 4 else "ma")
    for colour, points in zip(COLOURS * 9, shown.values(), strict=False):
        places = [place(*point) for point in points]
        if len(places) > 1:
            draw.line(places, colour, width=2)
    numbers = {name: number for number, name in enumerate(shown)}
    for row, names in enumerate(rows):
        x = float(LEFT)
        for name in names:
            y = box[3] + LINE + 6 + LINE * row
            draw.rectangle((x, y + 5, x + 10, y + 8), (COLOURS * 9)[numbers[name]])
            draw.text((x + 14, y), name, INK, font=font)
            x += font.getlength(name) + 26
    return image


def sheet(panels: Sequence[Image.Image], columns: int) -> Image.Image:
    """Panels of one size side by side, row by row."""
    width, height = panels[0].size
    whole = Image.new("RGB", (width * columns, height * math.ceil(len(panels) / columns)), PAPER)
    for number, panel in enumerate(panels):
        whole.paste(panel, (number % columns * width, number // columns * height))
    return whole


def _rows(
    names: list[str], width: float, font: ImageFont.FreeTypeFont | ImageFont.ImageFont
) -> list[list[str]]:
    rows: list[list[str]] = [[]]
    used = 0.0
    for name in names:
        need = font.getlength(name) + 26
        if rows[-1] and used + need > width:
            rows.append([])
            used = 0.0
        rows[-1].append(name)
        used += need
    return rows[:3]


def _round_up(value: float) -> float:
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 4, 5, 8, 10) if step * power >= value * 0.999)


def _told(value: float, unit: str) -> str:
    if unit in ("bytes", "Bps"):
        for name, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
            if value >= size:
                return f"{value / size:.3g} {name}"
    if unit == "percentunit":
        return f"{100 * value:.3g} %"
    return f"{value:.3g}" + (" s" if unit == "s" else "")
