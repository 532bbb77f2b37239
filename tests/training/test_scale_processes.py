"""Training in two processes over gloo, started as users start it, and stopped as supervisors stop it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from rig.scale import prepare, write_config

from models.denoiser import VideoDenoiser
from models.training.config import table
from models.training.objective import Objective
from models.training.scale.checkpoints import OtherRun
from models.training.scale.conditions import Conditions
from models.training.scale.networks import Start, begin, moving, set_moving
from models.training.scale.plan import Clips, ScalePlan
from models.training.scale.sources import ShardClips
from models.training.scale.train import STOPPED, train
from models.training.scale.trainer import seeds_of
from models.training.stage_two_loss import StageTwoLoss

pytestmark = pytest.mark.timeout(400)  # each start imports torch, three times for two processes

MODULE = ["-m", "models.training.scale.train"]
LAUNCH = [
    *(sys.executable, "-m", "accelerate.commands.accelerate_cli", "launch", "--multi_gpu"),
    *("--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"),
    *("--num_cpu_threads_per_process", "1"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare(tmp_path_factory.mktemp("scale"))


def launch(processes: int, config: Path, work: Path) -> str:
    count = ("--main_process_port", "0", "--num_processes", str(processes))
    command = [*LAUNCH, *count, *MODULE, "--config", str(config), "--work", str(work)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=_environment())
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def _environment() -> dict[str, str]:
    # The launcher starts several processes for GPUs only; what they then use is said by the environment.
    own = {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
    return {**os.environ, **own}


def weights(work: Path) -> dict[str, torch.Tensor]:
    path = sorted((work / "checkpoints").glob("*.ckpt"))[-1]
    state: dict[str, Any] = torch.load(path, weights_only=True)
    return {**state["parameters"], **{f"ema.{name}": value for name, value in state["ema"].items()}}


def moments(checkpoint: Path) -> list[torch.Tensor]:
    """AdamW's first moments, in the order of the parameters."""
    state: dict[str, Any] = torch.load(checkpoint, weights_only=True)["optimizer"]["state"]
    return [each["exp_avg"] for _, each in sorted(state.items())]


def by_hand(config: Path) -> dict[str, torch.Tensor]:
    """The first step of two processes, computed in one: the mean of both gradients, as AdamW's first moments.

    Moments and not weights: AdamW's first step is the gradient's sign, and where a gradient is next to
    nothing, the order of a sum decides on it.
    """
    plan, clips = table(config, "plan", ScalePlan), table(config, "clips", Clips)
    objective = table(config, "objective", Objective)
    parts = begin(table(config, "start", Start), torch.device("cpu"), plan.seed)
    set_moving(parts, plan)
    denoiser = VideoDenoiser(parts.main, parts.appearnet)
    conditions, loss = Conditions(parts, objective, torch.device("cpu"), 8), StageTwoLoss(objective)
    trained = moving({"main": parts.main, "appearnet": parts.appearnet})
    rate = plan.learning_rate / plan.warmup_steps
    optimizer = torch.optim.AdamW(trained.values(), lr=rate, weight_decay=plan.weight_decay)
    for process in range(2):
        source = ShardClips.open(config.parent / "shards", clips, plan.batch, plan.seed, process, 2)
        noise, rng = seeds_of(plan.seed, process, 0)
        batch = next(source.batches(0, 1))
        example = conditions.prepare(batch, rng)
        (loss(denoiser, example.clean, example.z_c, example.text, noise) / 2).backward()
    torch.nn.utils.clip_grad_norm_(trained.values(), plan.max_grad_norm)
    optimizer.step()
    return {name: optimizer.state[weight]["exp_avg"] for name, weight in trained.items()}


def test_two_processes_train_as_one_and_go_on_exactly(folder: Path, tmp_path: Path) -> None:
    whole = write_config(folder, "whole.toml", steps=4, checkpoint_every=1, keep_checkpoints=9, log_every=1)
    said = launch(2, whole, tmp_path / "whole")
    assert "62,900 parameters train, 2 process(es), step 0" in said
    assert said.count("step 1/4") == 1  # the first process alone speaks
    first, expected = moments(tmp_path / "whole" / "checkpoints" / "step-000000001.ckpt"), by_hand(whole)
    assert len(first) == len(expected)
    for ours, (name, theirs) in zip(first, expected.items(), strict=True):
        assert float(theirs.abs().max()) > 0, name
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3 * float(theirs.abs().max()), msg=name)

    half = tmp_path / "half"
    (half / "checkpoints").mkdir(parents=True)
    middle = "checkpoints/step-000000002.ckpt"
    (half / middle).write_bytes((tmp_path / "whole" / middle).read_bytes())
    launch(2, whole, half)
    theirs = weights(half)
    assert all(torch.equal(value, theirs[name]) for name, value in weights(tmp_path / "whole").items())
    assert (half / "model" / "manifest.json").read_bytes() == (
        tmp_path / "whole" / "model" / "manifest.json"
    ).read_bytes()

    (half / "model").rename(half / "elsewhere")
    with pytest.raises(OtherRun, match="was written with processes = 2 and this run has 1"):
        train(whole, half)


def test_sigterm_writes_a_checkpoint_and_the_same_command_goes_on(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_config(folder, "long.toml", steps=100_000, log_every=1)
    command = [sys.executable, *MODULE, "--config", str(config), "--work", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=_environment()) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("step 2/"):
                break
        process.send_signal(signal.SIGTERM)
        said = process.stdout.read()
    assert process.returncode == STOPPED
    assert "the same command goes on" in said
    (path,) = (tmp_path / "checkpoints").iterdir()
    step = torch.load(path, weights_only=True)["step"]
    assert step >= 2

    shorter = write_config(folder, "long.toml", steps=step + 1, log_every=1)
    assert train(shorter, tmp_path) == tmp_path / "model"
    said = capsys.readouterr().out
    assert f"step {step}\n" in said
    assert "is complete: MICROCINEMA_WEIGHTS=" in said
    assert (tmp_path / "model" / "cinema.json").exists()
