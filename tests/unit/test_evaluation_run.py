"""The whole evaluation with a pipeline that renders exactly, with one that errs, and with nano weights."""

import json
from collections.abc import Generator, Iterator, Sequence
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from models.evaluation import contact_sheet
from models.evaluation.cases import Case, cases, fingerprint
from models.evaluation.evaluate import judge_film, main, progress_line, shoot
from models.evaluation.films import Recipe
from models.evaluation.reconstruction import Reconstruction
from models.evaluation.report import Report
from models.evaluation.score import tallies
from models.evaluation.silhouette import Pixels
from models.nano import write_nano
from models.orders import PictureOrder, Progress, VideoOrder
from models.spec import MICRO
from models.training.captions import HELD_OUT_TEMPLATES, split_of
from models.training.world import Scene, render

RECIPE = Recipe.of(MICRO)


class Renderer:
    """Answers every known prompt with its rendered scene: what a perfect model would make."""

    spec = MICRO
    weight_hash = "exact"

    def __init__(self, asked: Sequence[Case], breaks_after: int | None = None) -> None:
        self._scenes: dict[tuple[str, int], Scene] = {(case.prompt, case.seed): case.scene for case in asked}
        self._breaks_after = breaks_after
        self.painted: list[int] = []
        self.animated: list[int] = []

    def paint(self, orders: Sequence[PictureOrder]) -> Generator[Progress, None, list[Pixels]]:
        yield Progress(1, 1)
        self.painted += [order.seed for order in orders]
        return [render(self._scenes[order.prompt, order.seed])[8] for order in orders]

    def animate(
        self,
        orders: Sequence[VideoOrder],
        keyframes: Sequence[Pixels],  # noqa: ARG002
    ) -> Generator[Progress, None, Tensor]:
        yield Progress(1, 2)
        yield Progress(2, 2)
        if self._breaks_after is not None and len(self.animated) >= self._breaks_after:
            raise InterruptedError("power cut")
        self.animated += [order.seed for order in orders]
        clips = [render(self._scenes[order.prompt, order.seed]) for order in orders]
        return torch.from_numpy(np.stack(clips))

    def decode(self, latents: Tensor) -> Iterator[Pixels]:
        return iter(latents.numpy())


def text_cases(number: int) -> list[Case]:
    return cases(number, "text", frames=16, side=64)


def test_a_perfect_model_scores_full_marks(tmp_path: Path) -> None:
    asked = text_cases(24)
    films = shoot(Renderer(asked), RECIPE, asked, tmp_path, batch=5, clock=count().__next__)
    judged = [judge_film(case, film, 8) for case, film in zip(asked, films, strict=True)]
    vae = Reconstruction(16, 40.0, 30.0, tallies([(each.asked, each.asked) for each in judged]))
    report = Report.of(judged, vae)
    assert {tally.right for tally in (*report.video.values(), *report.keyframe.values())} == {24}
    assert report.centre_object_psnr_db is not None
    assert report.centre_object_psnr_db.p5 == 99.0
    assert report.background_drift_of_255 is not None
    assert report.background_drift_of_255.p95 < 0.5
    assert "joint                    24 / 24   100.0%" in report.text()
    plain = json.loads(json.dumps(report.as_json(), allow_nan=False))
    assert plain["video"]["joint"]["share"] == 1.0
    assert plain["films"][3]["prompt"] == asked[3].prompt
    assert plain["reconstruction"]["oracle"]["joint"]["right"] == 24


def test_a_model_that_errs_is_told_what_it_mistook(tmp_path: Path) -> None:
    asked = [case for case in text_cases(40) if case.asked.motion in ("left", "still")]
    films = shoot(Renderer(asked), RECIPE, asked, tmp_path, batch=8, clock=count().__next__)
    backwards = [judge_film(case, film, 8) for case, film in zip(asked, films, strict=True)]
    for case, film, before in zip(asked, films, backwards, strict=True):
        film.frames[:] = film.frames[::-1].copy()
        after = judge_film(case, film, 8)
        assert before.served == case.asked
        assert after.served.motion == ("right" if case.asked.motion == "left" else "still")
        if case.asked.motion == "left":
            assert after.centre_psnr < before.centre_psnr


def test_a_stopped_run_goes_on_where_it_was(tmp_path: Path) -> None:
    asked = text_cases(10)
    broken = Renderer(asked, breaks_after=6)
    with pytest.raises(InterruptedError):
        shoot(broken, RECIPE, asked, tmp_path, batch=3, clock=count().__next__)
    assert broken.animated == list(range(6))
    again = Renderer(asked)
    films = shoot(again, RECIPE, asked, tmp_path, batch=3, clock=count().__next__)
    assert again.animated == [6, 7, 8, 9]
    assert all(
        np.array_equal(film.frames, render(case.scene)) for film, case in zip(films, asked, strict=True)
    )


def test_given_pictures_take_the_place_of_stage_one(tmp_path: Path) -> None:
    asked = cases(6, "picture", frames=16, side=64)
    renderer = Renderer(asked)
    films = shoot(renderer, RECIPE, asked, tmp_path, batch=4, clock=count().__next__)
    assert renderer.painted == []
    for case, film in zip(asked, films, strict=True):
        assert case.keyframe is not None
        assert np.array_equal(film.keyframe, case.keyframe)


def test_cases_are_held_out_and_partly_new_in_words() -> None:
    asked = text_cases(200)
    assert [case.seed for case in asked] == list(range(200))
    assert all(split_of(case.scene) == "held_out" for case in asked)
    new = [template.split("{")[0] for template in HELD_OUT_TEMPLATES if not template.startswith("{")]
    assert any(case.prompt.startswith(start) for case in asked for start in new)
    assert [case.prompt for case in text_cases(200)] == [case.prompt for case in asked]


def test_in_a_conflict_the_picture_is_asked_for() -> None:
    for case in cases(20, "conflict", frames=16, side=64):
        assert case.asked.color == case.scene.color
        assert case.asked.color not in case.prompt.split()
        assert case.keyframe is not None


def test_cases_refuse_an_empty_run() -> None:
    with pytest.raises(ValueError, match="count is 0"):
        text_cases(0)


def test_fingerprint_changes_with_all_that_decides_the_films() -> None:
    asked = text_cases(4)
    same = fingerprint(text_cases(4), "weights", RECIPE)
    assert fingerprint(asked, "weights", RECIPE) == same
    others = {
        fingerprint(asked, "other weights", RECIPE),
        fingerprint(asked, "weights", Recipe(RECIPE.steps, RECIPE.guidance_scale, gamma=0.0)),
        fingerprint(asked[:3], "weights", RECIPE),
        fingerprint(cases(4, "picture", frames=16, side=64), "weights", RECIPE),
    }
    assert same not in others
    assert len(others) == 4


def test_progress_line_counts() -> None:
    line = progress_line(50, 200, each=2.0)
    assert line == "films [#####...............] 50/200 2.0 s each, 5.0 min left"


@pytest.fixture(scope="module")
def nano(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nano")
    write_nano(folder)
    return folder


def test_noise_earns_nothing(nano: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Random weights through the real pipeline: the command runs whole and no mark is given."""
    command = [
        "--weights",
        str(nano),
        "--prompts",
        "5",
        "--batch",
        "2",
        "--out",
        str(tmp_path),
        "--device",
        "cpu",
    ]
    main(command)
    printed = capsys.readouterr().out
    assert "films [####################] 5/5" in printed
    path = Path(printed.strip().rsplit("report: ", 1)[1])
    report = json.loads(path.read_text())
    assert {tally["right"] for tally in report["video"].values()} == {0}
    assert report["recipe"] == {"steps": 2, "guidance_scale": 2.0, "gamma": 0.02, "sampler": "dpm++2m"}
    main(command)
    assert "films [" not in capsys.readouterr().out
    assert [film["digest"] for film in json.loads(path.read_text())["films"]] == [
        film["digest"] for film in report["films"]
    ]
    main([*command, "--gamma", "0.05", "--steps", "3"])
    assert "films [####################] 5/5" in capsys.readouterr().out


def test_sheet_of_given_prompts(nano: Path, tmp_path: Path) -> None:
    out = tmp_path / "images" / "sheet.png"
    contact_sheet.main(
        [
            "--weights",
            str(nano),
            "--prompt",
            "a cat",
            "--prompt",
            "a dog",
            "--columns",
            "2",
            "--out",
            str(out),
        ]
    )
    assert out.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--prompts", "0"], "--prompts is 0"),
        (["--batch", "-1"], "--batch is -1"),
        (["--steps", "0"], "--steps is 0"),
    ],
)
def test_command_names_a_bad_number(
    arguments: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(arguments)
    assert named in capsys.readouterr().err


def test_command_names_a_folder_without_weights(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"manifest\.json is missing"):
        main(["--weights", str(tmp_path), "--device", "cpu"])
