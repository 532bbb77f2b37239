"""docs/ablations.md and its plots, written from the results.

python -m models.evaluation.ablations.page    # again, from docs/ablations.json
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from models.evaluation.ablations.authors import FVD, GAMMAS
from models.evaluation.ablations.chart import Line, bar_panel, line_panel, side_by_side
from models.evaluation.ablations.frechet import Distance
from models.evaluation.ablations.results import Results
from models.evaluation.ablations.tables import grid, path_rows, sections
from models.training.loop import write_atomically

CURVES, BARS = "ablation_noise_prior.png", "ablation_paths.png"


def publish(results: Results, page: Path) -> None:
    """Write the results beside the page (same name, .json), then the page."""
    text = json.dumps(results, indent=1, allow_nan=False) + "\n"
    write_atomically(page.with_suffix(".json"), lambda partial: _write(partial, text))
    render(results, page)


def render(results: Results | None, page: Path) -> None:
    """Draw the plots into images/ beside the page and fill its tables."""
    draw(results, page.parent / "images")
    filled = fill(page.read_text(), sections(results))
    write_atomically(page, lambda partial: _write(partial, filled))


def draw(results: Results | None, folder: Path) -> None:
    """Both plots; what is not measured stays an empty panel that says so."""
    authors = line_panel("authors: FVD on their data", "gamma", "FVD", authors_lines())
    ours = line_panel("ours: Frechet distance, micro world", "gamma", "distance", our_lines(results))
    folder.mkdir(parents=True, exist_ok=True)
    curves = side_by_side([authors, ours])
    write_atomically(folder / CURVES, lambda partial: curves.save(partial, format="PNG", optimize=True))
    rows = path_rows(results)
    distances = [(str(row["path"]), Distance(**row["distance"])) for row in rows]
    motions = [(str(row["path"]), share(row, "motion")) for row in rows]
    bars = side_by_side(
        [
            bar_panel("paths of the keyframe: distance", "distance", distances),
            bar_panel("paths of the keyframe: motion as asked", "%", motions),
        ]
    )
    write_atomically(folder / BARS, lambda partial: bars.save(partial, format="PNG", optimize=True))


def authors_lines() -> list[Line]:
    """The published curves; no interval is known."""
    return [
        Line(f"lambda {weight:g}", tuple((g, Distance(v, 0.0)) for g, v in zip(GAMMAS, values, strict=True)))
        for weight, values in FVD.items()
    ]


def our_lines(results: Results | None) -> list[Line]:
    """The measured curves, lambda by lambda."""
    if results is None:
        return []
    lines = []
    for weight in results["study"]["lambdas"]:
        row = [cell for cell in grid(results) if cell["lambda"] == weight]
        points = sorted((cell["gamma"], cell["distance"]["value"], cell["distance"]["reach"]) for cell in row)
        if points:
            spots = tuple((gamma, Distance(value, reach)) for gamma, value, reach in points)
            lines.append(Line(f"lambda {weight:g}", spots))
    return lines


def share(row: Results, name: str) -> Distance:
    """An oracle score in per cent; the interval's wider half."""
    score = row["scores"][name]
    reach = max(score["high"] - score["share"], score["share"] - score["low"])
    return Distance(100 * score["share"], 100 * reach)


def fill(text: str, parts: dict[str, str]) -> str:
    """The page with every part between its two markers; ValueError when a pair of markers is missing."""
    for name, part in parts.items():
        begin, end = f"<!-- begin {name} -->\n", f"<!-- end {name} -->"
        if text.count(begin) != 1 or text.count(end) != 1:
            raise ValueError(f"the page must have the markers {begin.strip()} and {end} once each")
        before, rest = text.split(begin)
        _, after = rest.split(end)
        text = f"{before}{begin}{part}\n{end}{after}"
    return text


def _write(path: Path, text: str) -> None:
    path.write_text(text)


def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Write docs/ablations.md from its results again.")
    parser.add_argument("--page", type=Path, default=Path("docs/ablations.md"), help="results lie beside it")
    page: Path = parser.parse_args(argv).page
    stored = page.with_suffix(".json")
    render(json.loads(stored.read_text()) if stored.exists() else None, page)


if __name__ == "__main__":
    main()
