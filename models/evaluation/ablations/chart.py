"""Small plots, drawn with Pillow: lines with intervals, and bars with intervals."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

from models.evaluation.ablations.frechet import Distance

WIDTH, HEIGHT = 520, 360  # pixels of one panel, before FINER
FINER = 2  # drawn larger and scaled down: soft edges
LEFT, RIGHT, TOP, BOTTOM = 62, 16, 64, 48
NAMES = 36  # height at which the axis and the curves are named
PAPER, INK, GRID = (255, 255, 255), (40, 40, 40), (215, 215, 215)
COLORS = ((40, 120, 180), (240, 150, 0), (20, 130, 30), (190, 50, 60), (120, 80, 170))


@dataclass(frozen=True)
class Line:
    """One curve: (x, distance) from left to right; a reach of 0 draws no interval."""

    name: str
    points: tuple[tuple[float, Distance], ...]


@dataclass(frozen=True)
class Axis:
    """Values from `low` to `high` along `length` pixels that begin at `origin`, up or to the right."""

    low: float
    high: float
    origin: float
    length: float

    def at(self, value: float) -> float:
        """Pixel of a value; a negative length runs upwards."""
        return self.origin + self.length * (value - self.low) / (self.high - self.low)


def line_panel(title: str, x_name: str, y_name: str, lines: Sequence[Line]) -> Image.Image:
    """Curves over a common axis; a panel without points says that nothing was measured."""
    panel, pen = _panel(title, x_name, y_name)
    points = [point for line in lines for point in line.points]
    if not points:
        return _empty(panel, pen)
    xs = sorted({x for x, _ in points})
    x_axis = _x_axis(xs[0], xs[-1])
    y_axis = _y_axis(pen, [y for _, y in points], from_zero=False)
    for x in xs:
        _vertical(pen, x_axis.at(x))
        _text(pen, (x_axis.at(x), HEIGHT - BOTTOM + 6), f"{x:g}", "ma")
    apart = 4 if any(value.reach for _, value in points) else 0  # intervals stand beside each other
    for place, (line, color) in enumerate(zip(lines, COLORS, strict=False)):
        aside = apart * (place - (len(lines) - 1) / 2)
        spots = [(x_axis.at(x) + aside, y_axis.at(y.value)) for x, y in line.points]
        pen.line([_finer(spot) for spot in spots], fill=color, width=2 * FINER)
        for (x, y), (_, spread) in zip(spots, line.points, strict=True):
            _whisker(pen, x, y_axis, spread, color)
            pen.ellipse([*_finer((x - 3, y - 3)), *_finer((x + 3, y + 3))], fill=color)
        left = LEFT + 60 + 125 * place
        pen.line([*_finer((left, NAMES + 7)), *_finer((left + 20, NAMES + 7))], fill=color, width=2 * FINER)
        _text(pen, (left + 26, NAMES), line.name, "la")
    return _shrunk(panel)


def bar_panel(title: str, y_name: str, bars: Sequence[tuple[str, Distance]]) -> Image.Image:
    """One bar from zero for each named value."""
    panel, pen = _panel(title, "", y_name)
    if not bars:
        return _empty(panel, pen)
    y_axis = _y_axis(pen, [value for _, value in bars], from_zero=True)
    room = (WIDTH - LEFT - RIGHT) / len(bars)
    for place, (name, value) in enumerate(bars):
        middle = LEFT + room * (place + 0.5)
        box = (middle - room * 0.3, y_axis.at(value.value), middle + room * 0.3, y_axis.at(0))
        pen.rectangle([side * FINER for side in box], fill=COLORS[0])
        _whisker(pen, middle, y_axis, value, INK)
        _text(pen, (middle, HEIGHT - BOTTOM + 6), name, "ma")
    return _shrunk(panel)


def side_by_side(panels: Sequence[Image.Image]) -> Image.Image:
    """One picture from left to right, in few colours: a small file."""
    sheet = Image.new("RGB", (WIDTH * len(panels), HEIGHT), PAPER)
    for place, panel in enumerate(panels):
        sheet.paste(panel, (place * WIDTH, 0))
    return sheet.quantize(64)


def round_steps(low: float, high: float) -> list[float]:
    """About five round values whose first and last enclose [low, high]."""
    if not low < high:
        low, high = low - 0.5, high + 0.5
    rough = (high - low) / 5
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * factor for factor in (1, 2, 5, 10) if size * factor >= rough)
    return [step * n for n in range(math.floor(low / step), math.ceil(high / step) + 1)]


def _panel(title: str, x_name: str, y_name: str) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    panel = Image.new("RGB", (WIDTH * FINER, HEIGHT * FINER), PAPER)
    pen = ImageDraw.Draw(panel)
    _text(pen, (WIDTH / 2, 8), title, "ma", 14)
    _text(pen, ((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 22), x_name, "ma")
    _text(pen, (12, NAMES), y_name, "la")
    return panel, pen


def _empty(panel: Image.Image, pen: ImageDraw.ImageDraw) -> Image.Image:
    _text(pen, (WIDTH / 2, HEIGHT / 2), "not run yet", "mm", 16)
    return _shrunk(panel)


def _x_axis(low: float, high: float) -> Axis:
    if low == high:
        low, high = low - 1, high + 1
    return Axis(low, high, LEFT + 12, WIDTH - LEFT - RIGHT - 24)


def _y_axis(pen: ImageDraw.ImageDraw, values: Sequence[Distance], from_zero: bool) -> Axis:
    """The axis, with its lines and numbers drawn."""
    low = 0.0 if from_zero else min(value.value - value.reach for value in values)
    steps = round_steps(low, max(value.value + value.reach for value in values))
    axis = Axis(steps[0], steps[-1], HEIGHT - BOTTOM, -(HEIGHT - BOTTOM - TOP))
    for value in steps:
        ends = (LEFT, axis.at(value)), (WIDTH - RIGHT, axis.at(value))
        pen.line([*_finer(ends[0]), *_finer(ends[1])], fill=GRID, width=FINER)
        _text(pen, (LEFT - 6, axis.at(value)), f"{value:g}", "rm")
    return axis


def _vertical(pen: ImageDraw.ImageDraw, x: float) -> None:
    pen.line([*_finer((x, TOP)), *_finer((x, HEIGHT - BOTTOM))], fill=GRID, width=FINER)


def _whisker(
    pen: ImageDraw.ImageDraw, x: float, axis: Axis, value: Distance, color: tuple[int, int, int]
) -> None:
    if value.reach > 0:
        low, high = axis.at(value.value - value.reach), axis.at(value.value + value.reach)
        pen.line([*_finer((x, low)), *_finer((x, high))], fill=color, width=FINER)
        for y in (low, high):
            pen.line([*_finer((x - 4, y)), *_finer((x + 4, y))], fill=color, width=FINER)


def _text(
    pen: ImageDraw.ImageDraw, spot: tuple[float, float], words: str, anchor: str, size: int = 12
) -> None:
    pen.text(_finer(spot), words, INK, ImageFont.load_default(size * FINER), anchor)


def _finer(spot: tuple[float, float]) -> tuple[float, float]:
    return spot[0] * FINER, spot[1] * FINER


def _shrunk(panel: Image.Image) -> Image.Image:
    return panel.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)
