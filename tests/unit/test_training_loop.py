"""Budget, average and resume of the shared training loop, on a model of one number."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from models.training.loop import Ema, Plan, Training, learning_rate_at


class SteppingClock:
    """Each reading is `seconds` later than the one before."""

    def __init__(self, seconds: float) -> None:
        self.now, self.seconds = 0.0, seconds

    def __call__(self) -> float:
        self.now += self.seconds
        return self.now


PLAN = Plan(
    minutes=1.0, learning_rate=0.1, warmup_steps=2, batch=1, ema_decay=0.9, seed=1, log_every_steps=5,
    checkpoint_seconds=10.0,
)  # fmt: skip


def start(work: Path, minutes: float = 1.0) -> tuple[nn.Linear, Training]:
    torch.manual_seed(0)
    model = nn.Linear(1, 1)
    plan = Plan(**{**PLAN.__dict__, "minutes": minutes})
    return model, Training("toy", {"model": model}, plan, work, SteppingClock(1.0))


def toy_loss(model: nn.Linear, step: int) -> Tensor:
    x = torch.full((1, 1), 1.0 + step % 3)
    loss: Tensor = (model(x) - 2 * x).square().mean()
    return loss


def test_ends_when_the_minutes_are_spent_and_writes_the_curve(tmp_path: Path) -> None:
    model, training = start(tmp_path)
    training.run(lambda step: toy_loss(model, step))
    assert training.minutes == pytest.approx(1.0, abs=0.05)
    assert training.step == 60
    lines = (tmp_path / "toy_loss.txt").read_text().splitlines()
    assert [int(line.split()[1]) for line in lines] == list(range(5, 61, 5))
    assert float(lines[-1].split()[2]) < float(lines[0].split()[2])


def test_a_killed_run_goes_on_where_its_checkpoint_was(tmp_path: Path) -> None:
    class Killed(Exception):
        pass

    def dies(step: int) -> Tensor:
        if step == 25:
            raise Killed
        return toy_loss(model, step)

    model, training = start(tmp_path)
    with pytest.raises(Killed):
        training.run(dies)
    seen: list[int] = []

    def watched(step: int) -> Tensor:
        seen.append(step)
        return toy_loss(again_model, step)

    again_model, again = start(tmp_path)
    again.run(watched)
    assert 10 <= seen[0] <= 25
    assert seen == list(range(seen[0], again.step))
    assert again.minutes == pytest.approx(1.0, abs=0.05)
    assert again.step == pytest.approx(60, abs=1)


def test_resume_restores_weights_average_and_optimiser_exactly(tmp_path: Path) -> None:
    model, training = start(tmp_path)
    training.run(lambda step: toy_loss(model, step))
    other_model, other = start(tmp_path)
    with torch.no_grad():
        other_model.weight.fill_(7.0)
    assert other.resume()
    assert torch.equal(other_model.weight, model.weight)
    assert torch.equal(other.ema.shadow["model.weight"], training.ema.shadow["model.weight"])
    ours, theirs = training.optimizer.state_dict()["state"], other.optimizer.state_dict()["state"]
    assert torch.equal(ours[0]["exp_avg"], theirs[0]["exp_avg"])


def test_average_follows_and_swapping_twice_changes_nothing() -> None:
    weight = nn.Parameter(torch.zeros(1))
    ema = Ema({"w": weight}, decay=0.5)
    with torch.no_grad():
        weight.fill_(1.0)
    ema.update({"w": weight}, step=100)
    assert ema.shadow["w"].item() == pytest.approx(0.5)
    ema.swap({"w": weight})
    assert weight.item() == pytest.approx(0.5)
    ema.swap({"w": weight})
    assert weight.item() == 1.0


def test_frozen_parameters_are_neither_trained_nor_stored(tmp_path: Path) -> None:
    model = nn.Linear(1, 1)
    model.bias.requires_grad_(False)
    training = Training("toy", {"model": model}, PLAN, tmp_path, SteppingClock(1.0))
    assert set(training.parameters) == {"model.weight"}


def test_learning_rate_warms_up_and_falls_over_the_budget() -> None:
    assert learning_rate_at(PLAN, step=0, progress=0.0) == pytest.approx(0.05)
    assert learning_rate_at(PLAN, step=5, progress=0.0) == pytest.approx(0.1)
    assert learning_rate_at(PLAN, step=5, progress=0.5) == pytest.approx(0.1 * 0.505)
    assert learning_rate_at(PLAN, step=5, progress=1.0) == pytest.approx(0.001)


def test_a_loss_that_is_not_a_number_stops_the_run(tmp_path: Path) -> None:
    model, training = start(tmp_path)
    with pytest.raises(FloatingPointError, match="toy: loss is nan"):
        training.run(lambda step: toy_loss(model, step) * float("nan"))


def test_plan_bounds() -> None:
    with pytest.raises(ValueError, match="minutes is 0"):
        start(Path(), minutes=0)
    with pytest.raises(ValueError, match="precision is 'bf16'; it must be one of float32, tf32"):
        replace(PLAN, precision="bf16")
