"""Configs of training at scale: what they refuse, and what the optional parts of it need."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from rig.scale import PLAN, prepare, write_config
from torch import nn

from models.errors import BadWeights
from models.training.scale import train as command
from models.training.scale.networks import Start, begin
from models.training.scale.optimizers import make_optimizer
from models.training.scale.plan import PreviewPlan, ScalePlan
from models.training.scale.shards import BadShards


def plan(**changes: Any) -> ScalePlan:
    return ScalePlan(**{**PLAN, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"steps": 0}, "steps is 0; it must be at least 1"),
        ({"batch": -1}, "batch is -1; it must be at least 1"),
        ({"keep_checkpoints": 0}, "keep_checkpoints is 0; it must be at least 1"),
        ({"warmup_steps": -1}, "warmup_steps is -1; it must be at least 0"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0; it must be above 0"),
        ({"ema_decay": 1.0}, r"ema_decay is 1.0; it must lie in \[0, 1\)"),
        ({"optimizer": "sgd"}, r"optimizer is 'sgd'; it must be one of \('adamw', 'adamw8bit'\)"),
        ({"precision": "fp8"}, "precision is 'fp8'"),
        ({"decay": "step"}, "decay is 'step'"),
    ],
)
def test_plan_bounds(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        plan(**changes)


def test_preview_bounds() -> None:
    with pytest.raises(ValueError, match="every is -1"):
        PreviewPlan(-1, ("a",))
    with pytest.raises(ValueError, match="prompts is empty"):
        PreviewPlan(5, ())


def test_eight_bit_needs_bitsandbytes_and_says_how_to_get_it() -> None:
    weights = [nn.Parameter(torch.zeros(2))]

    def absent(name: str) -> Any:
        raise ModuleNotFoundError(f"No module named {name!r}")

    with pytest.raises(ValueError, match=r"needs bitsandbytes .*: install microcinema\[train-8bit\]"):
        make_optimizer(weights, plan(optimizer="adamw8bit"), absent)

    made: list[dict[str, Any]] = []

    def present(name: str) -> Any:
        assert name == "bitsandbytes"
        return SimpleNamespace(
            optim=SimpleNamespace(AdamW8bit=lambda w, **k: made.append({"weights": w, **k}))
        )

    make_optimizer(weights, plan(optimizer="adamw8bit"), present)
    assert made == [{"weights": weights, "lr": 1e-3, "weight_decay": 0.01}]
    assert type(make_optimizer(weights, plan(), absent)) is torch.optim.AdamW


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare(tmp_path_factory.mktemp("scale"), clips=3)


@pytest.mark.parametrize(
    ("before", "after", "error", "sentence"),
    [
        ("frames = 4\n", "frames = 1\n", ValueError, "frames is 1; nano makes 2 to 8 in steps of 1"),
        ("frames = 4\n", "frames = 5\n", BadShards, "packed for clips of 4 frames at 8 a second"),
        ("width = 32\n", "width = 30\n", ValueError, "size 30x32: both sides must be multiples of 4"),
        ("width = 32\n", "width = 36\n", BadShards, "pictures of at least 32x32; for 36x32 pack"),
        ("[shards]", "[shard]", ValueError, r"must have one of \[shards\] and \[stored\], it has 0"),
        ("/shards", "/nowhere", BadShards, "pack videos with"),
        ("/nano", "/nowhere", BadWeights, "no cinema.json, so it is to be inflated"),
        ("seed = 5\n", 'seed = 5\nprecision = "fp16"\n', ValueError, "fp16.*needs a GPU"),
        ("fp32", "fp8", ValueError, "dtype is 'fp8'"),
        ("[objective]", "[objective]\ncontrary_share = 0.3", ValueError, "contrary_share is 0.3"),
        ("[objective]", "[objective]\nrotating_weight = 3", ValueError, "rotating_weight is 3; it must be 1"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_the_first_step(
    folder: Path, tmp_path: Path, before: str, after: str, error: type[Exception], sentence: str
) -> None:
    if after.endswith('"fp16"\n') and torch.cuda.is_available():
        pytest.skip("this machine has fp16")
    config = write_config(folder, "refused.toml", steps=1)
    text = config.read_text()
    assert before in text
    config.write_text(text.replace(before, after))
    with pytest.raises(error, match=sentence):
        command.train(config, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_stable_diffusion_folder_is_inflated_on_the_way_in(folder: Path) -> None:
    """The nano folder without what inflation added is a Stable Diffusion folder."""
    flat = folder / "flat"
    flat.mkdir()
    for name in ("model_index.json", "scheduler", "text_encoder", "tokenizer", "unet", "vae"):
        (flat / name).symlink_to(folder / "nano" / name)
    parts = begin(Start(str(flat), "nano"), torch.device("cpu"), seed=1)
    again = begin(Start(str(flat), "nano"), torch.device("cpu"), seed=1)
    whole = begin(Start(str(folder / "nano")), torch.device("cpu"), seed=1)
    assert torch.equal(parts.main.conv_in.weight, whole.main.conv_in.weight)
    state, same = parts.main.state_dict(), again.main.state_dict()
    assert all(torch.equal(value, same[name]) for name, value in state.items())
    assert not bool(state["down_blocks.0.resnets.0.temporal1.conv.weight"].any())  # silent at first
    with pytest.raises(BadWeights, match="leave spec out"):
        begin(Start(str(folder / "nano"), "nano"), torch.device("cpu"), seed=1)
