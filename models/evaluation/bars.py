"""The bars that the shipped model has to clear, and the figures held against them.

Shares are of films with one try each. PSNRs and the background's drift are means over films; a film
without one clear object has neither an object's PSNR nor a drift (`measured` says how many had one),
and counts as wrong in every share.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from models.evaluation.reconstruction import Reconstruction
from models.evaluation.report import Report
from models.evaluation.score import Spread, Tally

Unit = Literal["%", "dB", "/ 255"]
UNKNOWN = "nothing to measure"

# Attribute -> its name for people and the least share of right ones.
SHARES = {
    "color": ("colour", 0.97),
    "background": ("background", 0.97),
    "shape": ("shape", 0.90),
    "motion": ("motion", 0.93),
    "joint": ("all four", 0.82),
}
PICTURE_WINS = 0.95
VAE_DB, VAE_OBJECT_DB = 36.0, 28.0
CENTRE_DB, CENTRE_OBJECT_DB = 28.0, 22.0
MOST_DRIFT = 2.0  # of 255


@dataclass(frozen=True)
class Figure:
    """A measured value beside its bar.

    value: None when there was nothing to measure, which clears no bar. Shares are 0 to 1 and have Wilson's
    95 % interval. upward: the bar is the least allowed; otherwise the most.
    """

    of: str
    name: str
    unit: Unit
    value: float | None
    bar: float
    measured: int
    interval: tuple[float, float] | None = None
    upward: bool = True

    @property
    def met(self) -> bool:
        """Whether the bar is cleared; reaching it is enough."""
        if self.value is None:
            return False
        return self.value >= self.bar if self.upward else self.value <= self.bar

    @property
    def shown(self) -> str:
        """The value for people."""
        return UNKNOWN if self.value is None else self._worded(self.value)

    @property
    def shown_bar(self) -> str:
        """The bar for people."""
        return f"{'>=' if self.upward else '<='} {self._worded(self.bar)}"

    @property
    def shown_spread(self) -> str:
        """Interval or empty, for people."""
        if self.interval is None:
            return ""
        low, high = self.interval
        return f"{low:.1%} to {high:.1%}"

    def _worded(self, value: float) -> str:
        return f"{value:.1%}" if self.unit == "%" else f"{value:.2f} {self.unit}"


def film_figures(of: str, report: Report) -> list[Figure]:
    """The bars of videos: what they show, how the centre frame keeps the keyframe, how calm they are."""
    return [
        *(_share(of, name, report.video[key], bar) for key, (name, bar) in SHARES.items()),
        _mean(of, "centre frame against keyframe", "dB", report.centre_psnr_db, CENTRE_DB),
        _mean(of, "the same, the object's pixels", "dB", report.centre_object_psnr_db, CENTRE_OBJECT_DB),
        _mean(
            of,
            "background between frames",
            "/ 255",
            report.background_drift_of_255,
            MOST_DRIFT,
            upward=False,
        ),
    ]


def conflict_figures(of: str, report: Report) -> list[Figure]:
    """When picture and prompt disagree on the colour, the picture wins."""
    return [_share(of, "colour of the picture", report.video["color"], PICTURE_WINS)]


def autoencoder_figures(of: str, found: Reconstruction | None) -> list[Figure]:
    """The bars of the autoencoder alone; PSNR over all pixels of all frames together."""
    whole, on_object, frames = (
        (found.psnr_db, found.object_psnr_db, found.frames) if found else (None, None, 0)
    )
    return [
        Figure(of, "autoencoder", "dB", whole, VAE_DB, frames),
        Figure(of, "the same, the object's pixels", "dB", on_object, VAE_OBJECT_DB, frames),
    ]


def missed(figures: Iterable[Figure]) -> list[Figure]:
    """The figures that do not clear their bar."""
    return [figure for figure in figures if not figure.met]


def table(figures: Sequence[Figure]) -> str:
    """For a terminal: each figure beside its bar."""
    rows = [("", "measured", "bar", "", "95 % interval")]
    rows += [
        (f"{f.of}: {f.name}", f.shown, f.shown_bar, "met" if f.met else "MISSED", f.shown_spread)
        for f in figures
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(line.rstrip() for line in lines)


def markdown(figures: Sequence[Figure]) -> str:
    """The same table for the model card."""
    lines = ["| | figure | measured | bar | | 95 % interval | n |", "|---|---|---|---|---|---|---|"]
    lines += [
        f"| {f.of} | {f.name} | {f.shown} | {f.shown_bar} | {'met' if f.met else '**missed**'} "
        f"| {f.shown_spread} | {f.measured} |"
        for f in figures
    ]
    return "\n".join(lines)


def _share(of: str, name: str, tally: Tally, bar: float) -> Figure:
    return Figure(of, name, "%", tally.share, bar, tally.total, tally.interval)


def _mean(of: str, name: str, unit: Unit, spread: Spread | None, bar: float, upward: bool = True) -> Figure:
    mean, measured = (spread.mean, spread.measured) if spread else (None, 0)
    return Figure(of, name, unit, mean, bar, measured, upward=upward)
