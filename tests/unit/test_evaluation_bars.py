"""The bars: a perfect model clears them all, a broken one none, and every figure says so."""

import json
from collections.abc import Generator, Iterator, Sequence
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from models.evaluation.acceptance import as_json, as_markdown, hold_against_bars, main
from models.evaluation.bars import Figure, autoencoder_figures, markdown, missed, table
from models.evaluation.cases import SOURCES, cases
from models.evaluation.evaluate import Setting
from models.evaluation.films import Recipe
from models.evaluation.reconstruction import Reconstruction
from models.evaluation.silhouette import Pixels
from models.nano import write_nano
from models.orders import PictureOrder, Progress, VideoOrder
from models.spec import MICRO
from models.training.world import Scene, render

PROMPTS = 6


class ByKeyframe:
    """A perfect model: it films the scene whose centre frame it is given, whatever the prompt says."""

    spec = MICRO
    weight_hash = "exact-weights"

    def __init__(self) -> None:
        asked = [case for source in SOURCES for case in cases(PROMPTS, source, frames=16, side=64)]
        self._by_picture: dict[bytes, Scene] = {render(case.scene)[8].tobytes(): case.scene for case in asked}
        self._by_prompt = {(case.prompt, case.seed): case.scene for case in asked if case.keyframe is None}
        self.animated = 0

    def paint(self, orders: Sequence[PictureOrder]) -> Generator[Progress, None, list[Pixels]]:
        yield Progress(1, 1)
        return [render(self._by_prompt[order.prompt, order.seed])[8] for order in orders]

    def animate(
        self, orders: Sequence[VideoOrder], keyframes: Sequence[Pixels]
    ) -> Generator[Progress, None, Tensor]:
        yield Progress(1, 1)
        self.animated += len(orders)
        clips = [render(self._by_picture[keyframe.tobytes()]) for keyframe in keyframes]
        return torch.from_numpy(np.stack(clips))

    def decode(self, latents: Tensor) -> Iterator[Pixels]:
        return iter(latents.numpy())


def setting(folder: Path) -> Setting:
    return Setting(Recipe.of(MICRO), "cpu", folder, batch=4, clock=count().__next__)


def test_a_perfect_model_clears_every_bar_of_films(tmp_path: Path) -> None:
    pipeline = ByKeyframe()
    figures, evaluations = hold_against_bars(pipeline, None, PROMPTS, setting(tmp_path))
    assert [(figure.of, figure.name) for figure in missed(figures)] == [
        ("held-out frames", "autoencoder"),  # nobody handed one in: not measured is not met
        ("held-out frames", "the same, the object's pixels"),
    ]
    assert len(figures) == 8 + 2 + 8 + 1
    assert [len(each.report.films) for each in evaluations] == [PROMPTS] * 3
    assert pipeline.animated == 3 * PROMPTS
    hold_against_bars(pipeline, None, PROMPTS, setting(tmp_path))
    assert pipeline.animated == 3 * PROMPTS  # everything was there


def test_a_model_that_follows_the_prompt_loses_the_conflict(tmp_path: Path) -> None:
    class ByPrompt(ByKeyframe):
        def animate(
            self,
            orders: Sequence[VideoOrder],
            keyframes: Sequence[Pixels],  # noqa: ARG002
        ) -> Generator[Progress, None, Tensor]:
            yield Progress(1, 1)
            clips = [render(self._by_prompt[order.prompt, order.seed]) for order in orders]
            return torch.from_numpy(np.stack(clips))

    figures, _ = hold_against_bars(ByPrompt(), None, PROMPTS, setting(tmp_path))
    assert ("in conflict", "colour of the picture") in [(each.of, each.name) for each in missed(figures)]
    (conflict,) = (each for each in figures if each.of == "in conflict")
    assert conflict.value == 0.0


def test_results_for_programs_and_for_the_model_card(tmp_path: Path) -> None:
    pipeline, how = ByKeyframe(), setting(tmp_path)
    figures, _ = hold_against_bars(pipeline, None, PROMPTS, how)
    plain = json.loads(json.dumps(as_json(figures, pipeline, PROMPTS, how), allow_nan=False))
    assert plain["missed"] == 2
    assert plain["figures"][0] | {"interval": None} == {
        "of": "from a prompt",
        "name": "colour",
        "unit": "%",
        "value": 1.0,
        "bar": 0.97,
        "measured": PROMPTS,
        "interval": None,
        "upward": True,
        "met": True,
    }
    card = as_markdown(figures, pipeline, PROMPTS, how)
    assert "weights `exact-weight`: 6 held-out prompts, seeds 0 to 5" in card
    assert "| from a prompt | colour | 100.0% | >= 97.0% | met |" in card
    assert "| held-out frames | autoencoder | nothing to measure | >= 36.00 dB | **missed** |" in card


@pytest.mark.parametrize(
    ("value", "upward", "met"),
    [
        (0.9, True, True),
        (0.8999, True, False),
        (0.9, False, True),
        (0.9001, False, False),
        (None, False, False),
    ],
)
def test_reaching_a_bar_is_enough(value: float | None, upward: bool, met: bool) -> None:
    assert Figure("of", "name", "%", value, 0.9, 1, upward=upward).met is met


def test_tables_put_the_figure_beside_its_bar() -> None:
    vae = Reconstruction(frames=32, psnr_db=36.04, object_psnr_db=27.9, oracle={})
    figures = autoencoder_figures("frames", vae)
    lines = table(figures).splitlines()
    assert [cell.strip() for cell in lines[1].split("  ") if cell.strip()] == [
        "frames: autoencoder",
        "36.04 dB",
        ">= 36.00 dB",
        "met",
    ]
    assert "MISSED" in lines[2]
    assert "| 27.90 dB | >= 28.00 dB | **missed** |" in markdown(figures)


def test_the_command_on_noise_misses_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nano, out, docs = tmp_path / "nano", tmp_path / "out", tmp_path / "docs"
    write_nano(nano)
    docs.mkdir()
    command = ["--weights", str(nano), "--prompts", "2", "--device", "cpu", "--out", str(out)]
    assert main(command) == 0
    assert main([*command, "--enforce", "--publish", str(docs)]) == 1
    printed = capsys.readouterr().out
    assert "from a prompt: colour" in printed
    assert "MISSED" in printed
    assert f"results: {docs / 'evaluation-nano'}.json and .md" in printed
    assert (docs / "evaluation-nano.json").read_bytes() == (out / "nano-bars-2.json").read_bytes()
    assert json.loads((docs / "evaluation-nano.json").read_text())["prompts"] == 2
    with pytest.raises(SystemExit):
        main(["--prompts", "0"])
    assert "--prompts is 0; it must be at least 1" in capsys.readouterr().err
