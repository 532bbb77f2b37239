"""The study's plan, and a page that can only say what its results say."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from models.evaluation.ablations import run
from models.evaluation.ablations.authors import FVD, GAMMAS
from models.evaluation.ablations.chart import (
    COLORS,
    HEIGHT,
    PAPER,
    TOP,
    WIDTH,
    Line,
    bar_panel,
    line_panel,
    round_steps,
    side_by_side,
)
from models.evaluation.ablations.frechet import Distance
from models.evaluation.ablations.page import BARS, CURVES, draw, fill, main, our_lines, publish
from models.evaluation.ablations.paths import PATHS
from models.evaluation.ablations.results import compared
from models.evaluation.ablations.start import Start
from models.evaluation.ablations.study import FULL, Cell, Study, Trial
from models.evaluation.ablations.tables import NOT_RUN, sections
from models.spec import MICRO

DOCS = Path(__file__).parents[2] / "docs"
CONFIG = Path(run.__file__).with_name("ablations.toml")


@pytest.fixture(scope="module")
def study() -> Study:
    return run.read_setting(CONFIG, Start(Path(), MICRO, "start")).study


def made_up(study: Study, cells: list[Cell]) -> dict[str, Any]:
    """Results in their format whose figures follow from the cell alone."""

    def score(share: float) -> dict[str, float]:
        return {"right": share * 100, "total": 100, "share": share, "low": share / 2, "high": share}

    def cell_row(cell: Cell) -> dict[str, Any]:
        value = 1 + cell.trial.appearance_weight + 100 * (cell.gamma - 0.02) ** 2
        return {
            "path": cell.trial.path,
            "lambda": cell.trial.appearance_weight,
            "gamma": cell.gamma,
            "films": 192,
            "distance": {"value": value, "reach": 0.25},
            "from_plain": {"value": value - 1.04, "reach": 0.125},
            "from_full": None,
            "scores": {
                name: score(cell.gamma) for name in ("color", "background", "shape", "motion", "joint")
            },
            "centre_psnr_db": {"mean": 30.0},
        }

    trials = list(dict.fromkeys(cell.trial for cell in cells))
    return {
        "start": "0123456789abcdef",
        "study": json.loads(json.dumps(study.__dict__)),
        "planned_trials": 6,
        "planned_cells": 21,
        "ruler": {"rendered": {"value": 1.5, "reach": 0.5}},
        "trials": [
            {
                "path": trial.path,
                "appearance_weight": trial.appearance_weight,
                "steps": 60,
                "parameters": 1_500_000,
                "trained_parameters": 500_000,
                "minutes": 2.0,
                "loss": 0.0125,
            }
            for trial in trials
        ],
        "cells": [cell_row(cell) for cell in cells],
    }


def all_cells(study: Study) -> list[Cell]:
    return [cell for trial in study.trials() for cell in study.cells(trial)]


def test_the_shipped_study_is_the_one_that_was_asked_for(study: Study) -> None:
    assert study.lambdas == tuple(FVD)
    assert study.gammas == GAMMAS
    assert study.paths == tuple(PATHS)
    assert [trial.name for trial in study.trials()] == [
        "denormalisation-lambda-0", "denormalisation-lambda-0.03", "denormalisation-lambda-0.1",
        "none-lambda-0.03", "concatenation-lambda-0.03", "addition-lambda-0.03",
    ]  # fmt: skip
    cells = all_cells(study)
    assert len(cells) == len(set(cells)) == 3 * 6 + 3
    assert Cell(Trial(FULL, study.path_lambda), study.path_gamma) in cells  # shared by both comparisons


def test_a_study_without_sense_is_refused(study: Study) -> None:
    for change, said in (
        ({"prompts": 24}, "prompts is 24 and dims is 24"),
        ({"rendered_clips": 7}, "rendered_clips is 7"),
        ({"steps": 0}, "steps is 0; it must be at least 1"),
        ({"gammas": ()}, "gammas is empty"),
    ):
        with pytest.raises(ValueError, match=said):
            replace(study, **change)


def test_an_unknown_path_is_refused(tmp_path: Path) -> None:
    config = tmp_path / "wrong.toml"
    config.write_text(CONFIG.read_text().replace('"addition"', '"magic"'))
    with pytest.raises(ValueError, match="paths names 'magic'; it must be one of none, concat"):
        run.read_setting(config, Start(Path(), MICRO, "start"))


def test_the_page_says_what_its_results_say_and_nothing_else() -> None:
    stored = DOCS / "ablations.json"
    results = json.loads(stored.read_text()) if stored.exists() else None
    page = (DOCS / "ablations.md").read_text()
    assert fill(page, sections(results)) == page
    for name in (CURVES, BARS):
        with Image.open(DOCS / "images" / name) as picture:
            assert picture.size == (2 * WIDTH, HEIGHT)
        assert f"images/{name}" in page


def test_nothing_measured_is_said_in_every_place() -> None:
    parts = sections(None)
    assert all(NOT_RUN in parts[name] for name in parts if name != "authors")
    assert "| 0.03 | 626 | 551 | 508 | 559 | 635 | 747 |" in parts["authors"]


def test_tables_hold_the_measured_cells_and_name_the_missing(study: Study) -> None:
    parts = sections(made_up(study, [cell for cell in all_cells(study) if cell.gamma != 0.05]))
    row = next(line for line in parts["noise-prior"].splitlines() if line.startswith("| 0.1 "))
    assert row == "| 0.1 | 1.14 ± 0.25 | 1.11 ± 0.25 | 1.10 ± 0.25 | 1.11 ± 0.25 | 1.14 ± 0.25 | not run |"
    assert "| 0.03 | +0.03 ± 0.12 | +0.00 ± 0.12 | -0.01 ± 0.12 |" in parts["noise-prior-differences"]
    assert "3% / 3%" in parts["noise-prior-scores"]
    assert (
        parts["paths"]
        .splitlines()[2]
        .startswith("| none | 1.50 M | 0.50 M | 2.00 s | 0.0125 | 1.03 ± 0.25 | not run |")
    )
    assert len(parts["paths"].splitlines()) == 2 + 4
    assert "6 of 6 trainings and 18 of 21 cells" in parts["state"]
    assert "| rendered | 1.50 ± 0.50 |" in parts["ruler"]


def test_curves_are_the_cells_in_order_of_gamma(study: Study) -> None:
    lines = our_lines(made_up(study, all_cells(study)[::-1]))
    assert [line.name for line in lines] == ["lambda 0", "lambda 0.03", "lambda 0.1"]
    assert [gamma for gamma, _ in lines[1].points] == list(GAMMAS)
    assert min(lines[1].points, key=lambda point: point[1].value)[0] == 0.02


def test_publishing_writes_json_plots_and_tables(study: Study, tmp_path: Path) -> None:
    page = tmp_path / "ablations.md"
    page.write_text((DOCS / "ablations.md").read_text())
    results = made_up(study, all_cells(study))
    publish(results, page)
    assert json.loads((tmp_path / "ablations.json").read_text()) == json.loads(json.dumps(results))
    assert fill(page.read_text(), sections(results)) == page.read_text()
    assert NOT_RUN not in page.read_text()
    filled = page.read_text()
    page.write_text(filled.replace("±", "plus or minus"))
    main(["--page", str(page)])
    assert page.read_text() == filled
    draw(None, tmp_path / "empty")
    for name in (CURVES, BARS):
        assert (tmp_path / "images" / name).read_bytes() != (tmp_path / "empty" / name).read_bytes()
        assert (tmp_path / "images" / name).stat().st_size < 60_000


def test_a_page_without_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="<!-- begin state -->"):
        fill("no markers\n", {"state": "words"})


def pixels(picture: Image.Image) -> Iterator[tuple[int, int]]:
    """Where a panel shows its first colour, (x, y)."""
    spots = np.abs(np.asarray(picture.convert("RGB")).astype(int) - COLORS[0]).sum(axis=2) < 60
    ys, xs = np.nonzero(spots)
    yield from zip(xs.tolist(), ys.tolist(), strict=True)


def test_a_line_falls_where_its_values_fall() -> None:
    points = ((0.0, Distance(10.0, 0.0)), (1.0, Distance(0.0, 0.0)))
    panel = line_panel("title", "x", "y", [Line("one", points)])
    curve = [(x, y) for x, y in pixels(panel) if y > TOP]  # below the names
    left = np.mean([y for x, y in curve if x < 150])
    right = np.mean([y for x, y in curve if x > 300])
    assert left < right - 50
    spread = ((0.0, Distance(10.0, 5.0)), (1.0, Distance(0.0, 0.0)))
    with_interval = line_panel("title", "x", "y", [Line("one", spread)])
    heights = [
        np.ptp([y for x, y in pixels(drawn) if x < 80 and y > TOP]) for drawn in (panel, with_interval)
    ]  # about the first point
    assert heights[1] > heights[0] + 50


def test_a_bar_is_as_high_as_its_value() -> None:
    panel = bar_panel("title", "y", [("low", Distance(1.0, 0.0)), ("high", Distance(4.0, 0.0))])
    spots = list(pixels(panel))
    low = sum(x < WIDTH / 2 for x, _ in spots)
    assert (len(spots) - low) / low == pytest.approx(4.0, rel=0.1)


def test_an_empty_panel_says_so_instead_of_drawing() -> None:
    empty = line_panel("title", "x", "y", [])
    assert not list(pixels(empty))
    sheet = side_by_side([empty, empty])
    assert sheet.size == (2 * WIDTH, HEIGHT)
    assert sheet.convert("RGB").getpixel((0, 0)) == PAPER


def test_axis_steps_are_round_and_enclose() -> None:
    for low, high in ((508, 747), (0, 0.07), (1.13, 1.14), (3, 3)):
        steps = round_steps(low, high)
        assert steps[0] <= low
        assert steps[-1] >= high
        assert 3 <= len(steps) <= 9


def test_cells_are_compared_with_no_prior_and_with_the_full_network(study: Study) -> None:
    def cell(path: str, weight: float, gamma: float, value: float) -> dict[str, Any]:
        distance = {"value": value, "reach": 0.0}
        return {
            "path": path, "lambda": weight, "gamma": gamma, "distance": distance, "draws": [value, value + 1]
        }  # fmt: skip

    plain, full = cell(FULL, 0.0, 0.0, 5.0), cell(FULL, study.path_lambda, study.path_gamma, 3.0)
    none = cell("none", study.path_lambda, study.path_gamma, 9.0)
    rows = compared([plain, full, none], study)
    assert [row["from_plain"]["value"] for row in rows] == [0.0, -2.0, 4.0]
    assert [row["from_full"]["value"] for row in rows] == [2.0, 0.0, 6.0]
    assert all("draws" not in row for row in rows)
    alone = compared([none], study)[0]
    assert alone["from_plain"] is alone["from_full"] is None
