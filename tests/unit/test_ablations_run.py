"""The whole study in small, on a nano model: what reaches the loss and the sampler, and what a kill costs."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from models.errors import BadWeights
from models.evaluation.ablations.cells import asked_of_every_cell
from models.evaluation.ablations.run import main, read_setting, run
from models.evaluation.ablations.start import Start, digest, open_clips, prepare
from models.evaluation.ablations.study import FULL, Setting, Trial
from models.evaluation.ablations.tables import sections
from models.evaluation.ablations.trial_training import RECORD, compose, train_trial, trained, trial_folder
from models.evaluation.films import load_strip
from models.nano import write_nano
from models.training.video_set import VideoSet

CONFIG = """
[study]
lambdas = [0.0, 0.1]
gammas = [0.0, 0.05]
paths = ["none", "denormalisation"]
path_lambda = 0.1
path_gamma = 0.05
steps = 3
prompts = 4
seeds = 2
rendered_clips = 6
dims = 2
bootstrap = 4
batch = 2
[objective]
beta_start = 0.00085
beta_end = 0.012
train_timesteps = 1000
snr_cap = 25.0
snr_floor = 0.3
text_dropped = 0.1
redrawn_share = 0.5
keyframe_noise = 0.05
[plan]
minutes = 1.0
learning_rate = 1e-2
warmup_steps = 1
batch = 2
ema_decay = 0.5
seed = 3
threads = 1
checkpoint_seconds = 0.0
log_every_steps = 1
[clips]
clips = 6
frames = 4
size = 32
seed = 1
threads = 1
"""


class PowerCut(Exception):
    """The process ends here."""


class Clock:
    """A second later at every reading; with `readings`, none after that many."""

    def __init__(self, readings: int | None = None) -> None:
        self.readings, self.now = readings, 0.0

    def __call__(self) -> float:
        if self.readings is not None and self.now >= self.readings:
            raise PowerCut
        self.now += 1.0
        return self.now


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("config") / "tiny.toml"
    path.write_text(CONFIG)
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nano") / "model"
    write_nano(folder, seed=5)
    return folder


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory, model: Path, config: Path) -> Start:
    return prepare(model, config, tmp_path_factory.mktemp("work"))


@pytest.fixture(scope="module")
def setting(start: Start, config: Path) -> Setting:
    torch.set_num_threads(1)
    return read_setting(config, start)


@pytest.fixture(scope="module")
def videos(start: Start, config: Path) -> VideoSet:
    return open_clips(start, config)


def page_in(folder: Path) -> Path:
    page = folder / "ablations.md"
    page.write_text(
        "".join(f"<!-- begin {name} -->\nNot run yet.\n<!-- end {name} -->\n" for name in sections(None))
    )
    return page


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, model: Path, config: Path) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    run(config, model, folder / "work", page_in(folder), Clock())
    return folder


def measured(folder: Path) -> dict[str, object]:
    """The results, less what depends on the clock."""
    results = json.loads((folder / "ablations.json").read_text())
    for trial in results["trials"]:
        del trial["minutes"]
    plain: dict[str, object] = results
    return plain


def test_a_run_measures_every_cell_and_fills_the_page(undisturbed: Path) -> None:
    results = json.loads((undisturbed / "ablations.json").read_text())
    assert (len(results["trials"]), len(results["cells"])) == (3, 5)
    assert {(cell["path"], cell["lambda"], cell["gamma"]) for cell in results["cells"]} == {
        (FULL, 0.0, 0.0), (FULL, 0.0, 0.05), (FULL, 0.1, 0.0), (FULL, 0.1, 0.05), ("none", 0.1, 0.05)
    }  # fmt: skip
    for cell in results["cells"]:
        assert cell["films"] == 8
        assert cell["scores"]["motion"]["total"] == 8
        assert cell["distance"]["value"] > 0
        assert len(cell["by_seed"]) == 2
        assert (cell["from_plain"]["value"] == 0) == (cell["lambda"] == cell["gamma"] == 0)
    page = (undisturbed / "ablations.md").read_text()
    for part in sections(results).values():
        assert part in page
    assert "Not run yet." not in page
    assert (undisturbed / "images" / "ablation_noise_prior.png").stat().st_size > 0


def test_each_trial_and_each_gamma_makes_other_films(undisturbed: Path) -> None:
    cells = json.loads((undisturbed / "ablations.json").read_text())["cells"]
    assert len({cell["distance"]["value"] for cell in cells}) == len(cells)
    folders = sorted(path for path in undisturbed.glob("work/*/trials/*/cells/*") if path.is_dir())
    assert len(folders) == 5
    first = [load_strip(folder / "0000.png", 32) for folder in folders]
    assert len({film.digest for film in first}) == 5
    assert len({film.keyframe.tobytes() for film in first}) == 1  # all cells animate the same picture


# among the first films, in the second training
@pytest.mark.parametrize("readings", [7, 16])
def test_a_kill_anywhere_changes_nothing_in_the_end(
    undisturbed: Path, tmp_path: Path, model: Path, config: Path, readings: int
) -> None:
    page = page_in(tmp_path)
    with pytest.raises(PowerCut):
        run(config, model, tmp_path / "work", page, Clock(readings))
    run(config, model, tmp_path / "work", page, Clock())
    assert measured(tmp_path) == measured(undisturbed)


def test_processes_share_a_study_by_naming_their_cells(
    undisturbed: Path, tmp_path: Path, model: Path, config: Path
) -> None:
    page, work = page_in(tmp_path), tmp_path / "work"
    empty = page.read_text()
    run(config, model, work, page, Clock(), ["denormalisation-lambda-0-gamma-0.05"])
    others = ["denormalisation-lambda-0", "denormalisation-lambda-0.1", "none-lambda-0.1"]
    run(config, model, work, page, Clock(), others)
    assert page.read_text() == empty  # a part does not write the page
    for weights in work.glob("*/trials/*/weights.safetensors"):
        weights.unlink()  # of measured cells the files are enough
    run(config, model, work, page, Clock())
    assert measured(tmp_path) == measured(undisturbed)


def test_a_cell_that_is_not_of_the_study_is_refused(tmp_path: Path, model: Path, config: Path) -> None:
    with pytest.raises(ValueError, match=r"gamma-0\.07.*there are .*gamma-0\.05"):
        run(config, model, tmp_path / "work", page_in(tmp_path), Clock(), ["none-lambda-0.1-gamma-0.07"])


def test_a_finished_study_runs_nothing_again(undisturbed: Path, model: Path, config: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (undisturbed / "work").rglob("*") if path.is_file()}
    run(config, model, undisturbed / "work", undisturbed / "ablations.md", Clock(readings=0))
    after = {path: path.stat().st_mtime_ns for path in (undisturbed / "work").rglob("*") if path.is_file()}
    assert after == before


def test_all_trials_start_from_the_same_weights(setting: Setting, start: Start, videos: VideoSet) -> None:
    trials = setting.study.trials()
    assert len({digest(compose(setting, trial, start, videos)) for trial in trials}) == 1
    other = replace(setting, plan=replace(setting.plan, seed=setting.plan.seed + 1))
    assert digest(compose(other, trials[0], start, videos)) != digest(
        compose(setting, trials[0], start, videos)
    )


def test_lambda_reaches_the_loss_by_its_formula(setting: Setting, start: Start, videos: VideoSet) -> None:
    def parts(weight: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """What the network is given, and the loss, at step 5."""
        stage = compose(setting, Trial(FULL, weight), start, videos)
        seen: list[torch.Tensor] = []
        stage.denoiser.register_forward_hook(lambda _module, given, _made: seen.extend(given))
        return stage.loss(5).detach(), seen[0], seen[1]

    plain, z_plain, z_c = parts(0.0)
    leaning, z_leaning, same_z_c = parts(0.1)
    assert torch.equal(z_c, same_z_c)
    assert plain != leaning
    # z_t moves by sqrt(1 - abar_t) lambda z^c, the same in every frame
    moved = (z_leaning - z_plain) / (0.1 * z_c[:, None])
    scale = moved.flatten(1).median(dim=1).values
    assert ((scale > 0) & (scale < 1)).all()
    expected = scale.view(-1, 1, 1, 1, 1) * 0.1 * z_c[:, None]
    torch.testing.assert_close(z_leaning - z_plain, expected.expand_as(z_plain), rtol=1e-3, atol=1e-5)


def test_training_goes_on_after_a_kill_to_the_very_same_weights(
    setting: Setting, start: Start, videos: VideoSet
) -> None:
    trial = Trial("none", 0.07)  # a trial that no other test trains
    with pytest.raises(PowerCut):
        train_trial(setting, trial, start, videos, Clock(readings=3))
    folder = trial_folder(setting, trial, start)
    assert not (folder / RECORD).exists()
    train_trial(setting, trial, start, videos, Clock())
    resumed = trained(setting, trial, start, videos)
    for path in folder.iterdir():
        path.unlink()
    train_trial(setting, trial, start, videos, Clock())
    whole = trained(setting, trial, start, videos)
    untouched = compose(setting, trial, start, videos)
    pairs = zip(resumed.denoiser.parameters(), whole.denoiser.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    pairs = zip(untouched.denoiser.parameters(), whole.denoiser.parameters(), strict=True)
    assert not all(torch.equal(a, b) for a, b in pairs)


def test_another_setting_is_another_training(setting: Setting) -> None:
    trial = Trial(FULL, 0.0)
    changes: list[Callable[[Setting], Setting]] = [
        lambda s: replace(s, study=replace(s.study, steps=4)),
        lambda s: replace(s, plan=replace(s.plan, learning_rate=0.1)),
        lambda s: replace(s, clips=replace(s.clips, clips=7)),
        lambda s: replace(s, start="another model"),
    ]
    prints = {setting.fingerprint(trial), setting.fingerprint(Trial(FULL, 0.1))}
    prints |= {change(setting).fingerprint(trial) for change in changes}
    assert len(prints) == 2 + len(changes)
    grown = replace(setting, study=replace(setting.study, gammas=(0.0, 0.01)))
    assert grown.fingerprint(trial) == setting.fingerprint(trial)  # more cells need no new training


def test_every_prompt_is_asked_with_every_seed(setting: Setting, start: Start) -> None:
    asked = asked_of_every_cell(setting.study, start.spec)
    assert [case.seed for case in asked] == list(range(8))
    assert [case.prompt for case in asked[:4]] == [case.prompt for case in asked[4:]]
    assert all(case.keyframe is not None and case.keyframe.dtype == np.uint8 for case in asked)


def test_a_folder_that_is_no_model_ends_with_a_sentence(tmp_path: Path, config: Path) -> None:
    with pytest.raises(BadWeights):
        prepare(tmp_path, config, tmp_path / "work")
    with pytest.raises(SystemExit, match="ablations: "):
        main(["--config", str(config), "--model", str(tmp_path), "--work", str(tmp_path / "work")])
