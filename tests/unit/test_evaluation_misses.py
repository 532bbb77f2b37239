"""The sheet of what went wrong: the first misses of a result, in order, with what the oracle saw."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.cinema import Film, frame_digest
from models.evaluation import contact_sheet
from models.evaluation.cases import Case, cases
from models.evaluation.evaluate import judge_film
from models.evaluation.films import save_strip
from models.evaluation.misses import first_misses
from models.evaluation.report import Report
from models.training.world import render


def backwards(case: Case) -> Film:
    frames = render(case.scene)[::-1].copy()
    return Film(frames, render(case.scene)[8], frame_digest(frames))


@pytest.fixture
def result(tmp_path: Path) -> Path:
    """An evaluation of 12 films that all run backwards, the last of them on nothing but grey."""
    asked = cases(12, "text", frames=16, side=64)
    films = [backwards(case) for case in asked]
    films[11].frames[:] = 128
    folder = tmp_path / "run"
    folder.mkdir()
    for case, film in zip(asked, films, strict=True):
        save_strip(folder / f"{case.seed:04d}.png", film)
    judged = [judge_film(case, film, 8) for case, film in zip(asked, films, strict=True)]
    path = folder.with_suffix(".json")
    path.write_text(json.dumps(Report.of(judged[::-1], None).as_json()))
    return path


def test_misses_come_in_order_of_their_seeds(result: Path) -> None:
    misses = first_misses(result, 100)
    seeds = [miss.seed for miss in misses]
    asked = cases(12, "text", frames=16, side=64)
    turned = [case.seed for case in asked[:11] if case.asked.motion not in ("still", "rotating")]
    assert seeds == [*turned, 11]
    assert [miss.seed for miss in first_misses(result, 2)] == seeds[:2]
    first = misses[0]
    assert first.asked.motion != first.seen.motion
    assert first.remark == f"seed {first.seed}: motion {first.seen.motion}, not {first.asked.motion}"
    assert misses[-1].remark == "seed 11: the oracle sees no one object on a plain background"
    assert np.array_equal(first.film.frames, backwards(asked[first.seed]).frames)


def test_the_sheet_has_a_row_for_each(
    result: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    two, four = tmp_path / "two.png", tmp_path / "sheets" / "four.png"
    contact_sheet.main(["--misses-of", str(result), "--prompts", "2", "--out", str(two)])
    contact_sheet.main(["--misses-of", str(result), "--prompts", "4", "--scale", "1", "--out", str(four)])
    with Image.open(two) as small, Image.open(four) as large:
        assert small.width > large.width
        rows = [(small.height - 40) / 2, (large.height - 40) / 4]
    assert rows == [128 + 2 * 16 + 24, 64 + 2 * 16 + 24]
    assert capsys.readouterr().out == f"{two}\n{four}\n"
    smaller = tmp_path / "two.webp"
    contact_sheet.main(["--misses-of", str(result), "--prompts", "2", "--out", str(smaller)])
    with Image.open(two) as png, Image.open(smaller) as webp:
        assert np.array_equal(np.asarray(png), np.asarray(webp))  # without loss in either


def test_a_result_without_misses_or_of_another_kind_is_a_sentence(result: Path, tmp_path: Path) -> None:
    plain = json.loads(result.read_text())
    for film in plain["films"]:
        film["served"] = film["asked"]
    result.write_text(json.dumps(plain))
    with pytest.raises(SystemExit, match="has no misses"):
        contact_sheet.main(["--misses-of", str(result), "--out", str(tmp_path / "sheet.png")])
    result.write_text("{}")
    with pytest.raises(SystemExit, match="is not the report of an evaluation"):
        contact_sheet.main(["--misses-of", str(result)])
    with pytest.raises(SystemExit, match=r"gone\.json"):
        contact_sheet.main(["--misses-of", str(tmp_path / "gone.json")])
