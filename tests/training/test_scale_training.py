"""The trainer at scale in miniature: exact resume, a served result, and every way of ending early."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from rig.scale import prepare, write_config
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from models.cinema import Cinema
from models.manifest import check_manifest
from models.training import h264
from models.training.scale.checkpoints import OtherRun
from models.training.scale.train import train
from models.weights import read_spec

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare(tmp_path_factory.mktemp("scale"))


def after(steps: int) -> Callable[[], bool]:
    """A request to stop that is made during step `steps`."""
    asked = iter(range(1, 1000))
    return lambda: next(asked) >= steps


def last_checkpoint(work: Path) -> dict[str, Any]:
    path = sorted((work / "checkpoints").glob("*.ckpt"))[-1]
    state: dict[str, Any] = torch.load(path, weights_only=True)
    return state


def assert_same(ours: Any, theirs: Any, where: str = "state") -> None:
    """Equal to the bit, all the way down."""
    assert type(ours) is type(theirs), where
    if isinstance(ours, dict):
        assert ours.keys() == theirs.keys(), where
        for key in ours:
            assert_same(ours[key], theirs[key], f"{where}.{key}")
    elif isinstance(ours, list):
        for n, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            assert_same(a, b, f"{where}.{n}")
    elif isinstance(ours, torch.Tensor):
        assert torch.equal(ours, theirs), where
    else:
        assert ours == theirs, where


@pytest.mark.parametrize(
    ("half", "changes"),
    [
        (10, {}),
        (3, {"accumulate": 2, "batch": 1, "decay": "cosine", "gradient_checkpointing": False}),
        (3, {"precision": "bf16", "freeze_spatial": False}),
    ],
    ids=["plain", "accumulated", "bf16-all-weights"],
)
def test_twenty_steps_are_ten_and_ten_more_to_the_bit(
    folder: Path, tmp_path: Path, half: int, changes: dict[str, object]
) -> None:
    config = write_config(folder, f"{tmp_path.name}.toml", steps=2 * half, **changes)
    assert train(config, tmp_path / "whole") == tmp_path / "whole" / "model"
    assert train(config, tmp_path / "halves", stop=after(half)) is None
    assert not (tmp_path / "halves" / "model").exists()
    assert last_checkpoint(tmp_path / "halves")["step"] == half
    assert train(config, tmp_path / "halves") == tmp_path / "halves" / "model"
    whole, halves = last_checkpoint(tmp_path / "whole"), last_checkpoint(tmp_path / "halves")
    assert whole["step"] == 2 * half
    assert_same(whole, halves)
    assert check_manifest(tmp_path / "whole" / "model") == check_manifest(tmp_path / "halves" / "model")


def test_how_many_processes_load_the_clips_changes_nothing(folder: Path, tmp_path: Path) -> None:
    for name, loaders in (("none", 0), ("two", 2)):
        config = write_config(folder, f"loaders-{name}.toml", steps=5, loader_processes=loaders)
        train(config, tmp_path / name)
    assert_same(last_checkpoint(tmp_path / "none"), last_checkpoint(tmp_path / "two"))


def test_videos_in_a_served_model_out(folder: Path, tmp_path: Path) -> None:
    config = write_config(folder, "served.toml", every=2, steps=3, log_every=1)
    model = train(config, tmp_path)
    assert model is not None
    cinema = Cinema.load(model, device="cpu")
    film = cinema("a camera pans", seed=1)
    assert film.frames.shape == (4, 32, 32, 3)
    before = Cinema.load(folder / "nano", device="cpu")("a camera pans", seed=1, keyframe=film.keyframe)
    assert np.abs(film.frames.astype(int) - before.frames).max() > 0  # it did learn something
    spec = read_spec(model)
    assert (spec.sizes[0], spec.fps, spec.frames.default, spec.noise_prior_lambda) == ((32, 32), 8, 4, 0.03)
    assert "trained for 3 steps of 2 clips: 4 frames at 8 a second" in spec.description
    assert train(config, tmp_path) == model  # complete: nothing is done again

    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [event.step for event in events.Scalars("loss")] == [1, 2, 3]
    assert events.Scalars("learning_rate")[-1].value == pytest.approx(1e-3)
    assert all(event.value > 0 for event in events.Scalars("gradient_norm"))
    pictures = events.Images("film/1")
    assert [event.step for event in pictures] == [2, 3]
    assert Image.open(io.BytesIO(pictures[-1].encoded_image_string)).n_frames == 4  # type: ignore[attr-defined]
    films = sorted((tmp_path / "films").iterdir())
    assert [path.name for path in films] == [
        f"step-00000000{step}-{prompt}.mp4" for step in (2, 3) for prompt in (0, 1)
    ]
    served = cinema("something else", seed=1).frames  # [previews] seed 0, prompt 1
    assert films[-1].read_bytes() == h264.encode(served, 8)
    assert films[-2].read_bytes() == h264.encode(cinema("a camera pans", seed=0).frames, 8)


def test_a_killed_run_takes_back_what_its_checkpoint_does_not_know(folder: Path, tmp_path: Path) -> None:
    class Killed(Exception):
        pass

    asked = iter(range(1, 100))

    def dies() -> bool:
        if next(asked) == 4:
            raise Killed
        return False

    config = write_config(folder, "killed.toml", steps=6, log_every=1, checkpoint_every=2)
    with pytest.raises(Killed):
        train(config, tmp_path / "killed", stop=dies)  # three steps are noted, two are kept
    assert last_checkpoint(tmp_path / "killed")["step"] == 2
    train(config, tmp_path / "killed")
    train(config, tmp_path / "whole")
    noted = [
        [
            (event.step, event.value)
            for event in EventAccumulator(str(work / "tensorboard")).Reload().Scalars("loss")
        ]
        for work in (tmp_path / "killed", tmp_path / "whole")
    ]
    assert noted[0] == noted[1]
    assert [step for step, _ in noted[0]] == [1, 2, 3, 4, 5, 6]


def test_only_what_should_move_moves(folder: Path, tmp_path: Path) -> None:
    frozen, free = tmp_path / "frozen", tmp_path / "free"
    train(write_config(folder, "frozen.toml", steps=3), frozen)
    train(write_config(folder, "free.toml", steps=3, freeze_spatial=False), free)
    begun = folder / "nano"

    def stored(model: Path, component: str) -> bytes:
        return next((model / component).glob("*.safetensors")).read_bytes()

    for component in ("unet", "vae", "text_encoder"):
        assert stored(frozen / "model", component) == stored(begun, component)
    for component in ("temporal", "appearnet"):
        assert stored(frozen / "model", component) != stored(begun, component)
    assert stored(free / "model", "unet") != stored(begun, "unet")
    for component in ("vae", "text_encoder"):
        assert stored(free / "model", component) == stored(begun, component)


def test_the_last_checkpoints_stay_and_no_part_of_one(folder: Path, tmp_path: Path) -> None:
    train(write_config(folder, "kept.toml", steps=7, checkpoint_every=2, keep_checkpoints=2), tmp_path)
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["step-000000006.ckpt", "step-000000007.ckpt"]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"batch": 1}, "batch = 2 and this run has 1"),
        ({"seed": 6}, "seed = 5 and this run has 6"),
        ({"accumulate": 2}, "accumulate = 1 and this run has 2"),
        ({"freeze_spatial": False}, "freeze_spatial = True and this run has False"),
    ],
)
def test_a_run_that_became_another_is_refused(
    folder: Path, tmp_path: Path, changes: dict[str, object], named: str
) -> None:
    assert train(write_config(folder, "first.toml"), tmp_path, stop=after(1)) is None
    with pytest.raises(OtherRun, match=f"was written with {named}"):
        train(write_config(folder, "second.toml", **changes), tmp_path)


def test_a_loss_that_is_no_number_ends_the_run_and_leaves_the_last_checkpoint(
    folder: Path, tmp_path: Path
) -> None:
    config = write_config(
        folder, "wild.toml", learning_rate=1e30, warmup_steps=0, max_grad_norm=1e30, checkpoint_every=1
    )
    with pytest.raises(FloatingPointError, match=r"step \d+: loss .*last checkpoint is step-0000") as ended:
        train(config, tmp_path)
    finite = last_checkpoint(tmp_path)
    assert f"step {finite['step'] + 1}:" in str(ended.value)
    assert not (tmp_path / "model").exists()
