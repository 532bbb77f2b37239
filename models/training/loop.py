"""The loop that every training script shares: wall-clock budget, EMA, resumable checkpoints.

Progress is elapsed training minutes over the budget, summed across resumes, not steps: the
schedule then ends on time on a shared machine as well as on a free one.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

PRECISIONS = ("float32", "tf32")
Clock = Callable[[], float]
LossOf = Callable[[int], Tensor]


@dataclass(frozen=True)
class Plan:
    """How long and how fast to train.

    minutes: wall-clock budget. learning_rate: peak; linear warm-up over warmup_steps, then a
    cosine over the budget down to 1 % of the peak. ema_decay: in [0, 1), approached from below
    so that early steps do not drag the initial weights along. precision: of matrix products on a
    GPU, one of PRECISIONS; all that is stored is float32 in both, and a CPU knows only the first.
    """

    minutes: float
    learning_rate: float
    warmup_steps: int
    batch: int
    ema_decay: float
    seed: int
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    threads: int = 2
    log_every_steps: int = 25
    checkpoint_seconds: float = 60.0
    sheet_minutes: float = 6.0
    precision: str = "float32"

    def __post_init__(self) -> None:
        if self.minutes <= 0:
            raise ValueError(f"minutes is {self.minutes}; it must be above 0")
        if not 0 <= self.ema_decay < 1:
            raise ValueError(f"ema_decay is {self.ema_decay}; it must lie in [0, 1)")
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision is {self.precision!r}; it must be one of {', '.join(PRECISIONS)}")


class Pace(Protocol):
    """What `learning_rate_at` reads of a plan."""

    @property
    def learning_rate(self) -> float: ...

    @property
    def warmup_steps(self) -> int: ...


def learning_rate_at(plan: Pace, step: int, progress: float) -> float:
    """Learning rate of a step (from 0) at `progress` in [0, 1] of the budget."""
    warm = min(1.0, (step + 1) / max(1, plan.warmup_steps))
    cosine = 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))
    return plan.learning_rate * warm * (0.01 + 0.99 * cosine)


class Ema:
    """Exponential moving average of the trained parameters."""

    def __init__(self, parameters: Mapping[str, nn.Parameter], decay: float) -> None:
        self.decay = decay
        self.shadow = {name: value.detach().clone() for name, value in parameters.items()}

    @torch.no_grad()
    def update(self, parameters: Mapping[str, nn.Parameter], step: int) -> None:
        """Move towards the parameters after optimiser step `step` (from 0)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(
            list(self.shadow.values()), [parameters[name].detach() for name in self.shadow], 1 - decay
        )

    @torch.no_grad()
    def swap(self, parameters: Mapping[str, nn.Parameter]) -> None:
        """Exchange average and parameters; calling it twice changes nothing."""
        for name, average in self.shadow.items():
            kept = parameters[name].detach().clone()
            parameters[name].copy_(average)
            average.copy_(kept)


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a neighbour file, then rename it: a kill leaves the old or the new file, whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    write(partial)
    partial.replace(path)


class Training:
    """One resumable training run of named modules (only parameters that require gradients move)."""

    def __init__(
        self, name: str, modules: Mapping[str, nn.Module], plan: Plan, work: Path, clock: Clock
    ) -> None:
        self.name, self.plan, self.work, self.clock = name, plan, work, clock
        self.parameters = {
            f"{prefix}.{key}": value
            for prefix, module in modules.items()
            for key, value in module.named_parameters()
            if value.requires_grad
        }
        self.optimizer = torch.optim.AdamW(
            list(self.parameters.values()), lr=plan.learning_rate, weight_decay=plan.weight_decay
        )
        self.ema = Ema(self.parameters, plan.ema_decay)
        self.step, self.minutes = 0, 0.0

    @property
    def progress(self) -> float:
        """Share of the budget that is spent; the run ends at 1."""
        return self.minutes / self.plan.minutes

    @property
    def checkpoint(self) -> Path:
        return self.work / f"{self.name}.ckpt"

    def resume(self) -> bool:
        """Load the last checkpoint, if there is one."""
        if not self.checkpoint.exists():
            return False
        state: dict[str, Any] = torch.load(self.checkpoint, weights_only=True, map_location="cpu")
        with torch.no_grad():
            for key, value in self.parameters.items():
                value.copy_(state["parameters"][key])
                self.ema.shadow[key].copy_(state["ema"][key])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.minutes = int(state["step"]), float(state["minutes"])
        return True

    def save(self) -> None:
        """Write parameters, average, optimiser, step and minutes spent."""
        state = {
            "parameters": {key: value.detach() for key, value in self.parameters.items()},
            "ema": self.ema.shadow,
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "minutes": self.minutes,
        }
        write_atomically(self.checkpoint, lambda path: torch.save(state, path))

    def run(self, loss_of: LossOf, sheet: Callable[[int], None] | None = None) -> None:
        """Train until the budget is spent; `loss_of(step)` must draw its batch from the step number.

        That makes a resumed run continue with the batches that it had not yet seen.
        """
        resumed = self.resume()
        if self.plan.precision == "tf32":
            torch.set_float32_matmul_precision("high")
        print(f"{self.name}: {'resumed at' if resumed else 'from'} step {self.step}", flush=True)
        started = last = saved = self.clock()
        begun_minutes, begun_step = self.minutes, self.step
        next_sheet = self.minutes + self.plan.sheet_minutes
        sums, count = torch.zeros(()), 0  # read when reported: to read a loss is to wait for the device
        while self.progress < 1:
            rate = learning_rate_at(self.plan, self.step, self.progress)
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            loss = loss_of(self.step)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(self.parameters.values(), self.plan.max_grad_norm)
            self.optimizer.step()
            self.ema.update(self.parameters, self.step)
            self.step += 1
            sums, count = sums.to(loss.device) + loss.detach(), count + 1
            last = self.clock()
            self.minutes = begun_minutes + (last - started) / 60
            if self.step % self.plan.log_every_steps == 0:
                speed = (self.step - begun_step) / max(last - started, 1e-9)
                self.report(float(sums) / count, speed)
                sums, count = torch.zeros(()), 0
            if last - saved >= self.plan.checkpoint_seconds:
                self.save()
                saved = last
            if sheet is not None and self.minutes >= next_sheet:
                self.with_average(sheet)
                next_sheet = self.minutes + self.plan.sheet_minutes
        self.save()

    def report(self, loss: float, speed: float) -> None:
        """Append to the loss curve and print the progress line."""
        if not math.isfinite(loss):
            raise FloatingPointError(f"{self.name}: loss is {loss} at step {self.step}; lower learning_rate")
        self.work.mkdir(parents=True, exist_ok=True)
        with (self.work / f"{self.name}_loss.txt").open("a") as curve:
            curve.write(f"{self.minutes:.6f} {self.step} {loss:.6f}\n")
        done = min(1.0, self.progress)
        bar = "#" * round(20 * done) + "." * (20 - round(20 * done))
        left = self.minutes * (1 / done - 1) if done else self.plan.minutes
        print(
            f"{self.name} [{bar}] step {self.step} loss {loss:.5f} {speed:.2f} steps/s {left:.1f} min left",
            flush=True,
        )

    def with_average(self, use: Callable[[int], None]) -> None:
        """Call `use(step)` with the averaged weights in place, then put the trained ones back."""
        self.ema.swap(self.parameters)
        try:
            use(self.step)
        finally:
            self.ema.swap(self.parameters)
