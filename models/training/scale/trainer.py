"""The loop: steps counted, not timed; checkpoints, films and a clean end on request."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from models.denoiser import VideoDenoiser
from models.training.loop import Clock, Ema, learning_rate_at
from models.training.scale.checkpoints import Checkpoints, Identity
from models.training.scale.conditions import Conditions
from models.training.scale.journal import Journal
from models.training.scale.networks import moving
from models.training.scale.optimizers import make_optimizer
from models.training.scale.plan import ScalePlan
from models.training.scale.processes import Processes
from models.training.scale.sources import Batch, ClipSource, load
from models.training.stage_two_loss import StageTwoLoss
from models.weights import Parts

Film = Callable[[int, Journal], None]


@dataclass(frozen=True)
class Crew:
    """What a training is made of. `stop` is asked after every step, in every process."""

    processes: Processes
    parts: Parts
    source: ClipSource
    conditions: Conditions
    loss: StageTwoLoss
    stop: Callable[[], bool]
    clock: Clock


def seeds_of(seed: int, process: int, number: int) -> tuple[torch.Generator, np.random.Generator]:
    """The generators of the batch with this number: everything random in a training comes out of them."""
    noise, choices = np.random.SeedSequence((seed, process, number)).spawn(2)
    source = torch.Generator().manual_seed(int(noise.generate_state(1, np.uint64)[0] >> 1))
    return source, np.random.default_rng(choices)


class Trainer:
    """One resumable run in `work`, which the first process alone writes to."""

    def __init__(self, plan: ScalePlan, crew: Crew, identity: Identity, work: Path) -> None:
        self.plan, self.crew, self.identity, self.work = plan, crew, identity, work
        denoiser = VideoDenoiser(crew.parts.main, crew.parts.appearnet)
        self.weights = moving({"main": crew.parts.main, "appearnet": crew.parts.appearnet})
        self.checkpoints = Checkpoints(work / "checkpoints", plan.keep_checkpoints)
        self.step = 0
        self._since = 0.0, 0  # when the speed was last noted, and at which step
        optimizer = make_optimizer(self.weights.values(), plan)
        self._denoiser, self._optimizer = crew.processes.join(denoiser, optimizer)
        self._ema = Ema(self.weights, plan.ema_decay) if crew.processes.first else None
        self._resume()

    def run(self, film: Film | None = None, film_every: int = 0) -> bool:
        """Train to the last step; False if `stop` ended it before. Raises FloatingPointError.

        `film(step, journal)` is called with the averaged weights in place, in the first process.
        """
        with ExitStack() as stack:
            journal = None
            if self.crew.processes.first:
                journal = Journal(self.work, self.step)
                stack.callback(journal.close)
            stopped = False
            batches = load(self.crew.source, self.step * self.plan.accumulate, self.plan.loader_processes)
            self._since = self.crew.clock(), self.step
            while self.step < self.plan.steps and not stopped:
                rate = self._set_rate()
                loss, norm, stopped = self._one_step(batches)
                self.step += 1
                if self._ema is not None:
                    self._ema.update(self.weights, self.step - 1)
                if journal is not None and self._due(self.plan.log_every):
                    self._note(journal, loss, rate, norm)
                if self._due(self.plan.checkpoint_every) or stopped:
                    self._save()
                if journal is not None and film is not None and film_every and self._due(film_every):
                    self._film(film, journal)
        return self.step >= self.plan.steps

    def _note(self, journal: Journal, loss: float, rate: float, norm: float) -> None:
        plan, now = self.plan, self.crew.clock()
        then, step = self._since
        clips = (self.step - step) * plan.batch * plan.accumulate * self.crew.processes.count
        speed = clips / max(now - then, 1e-9)
        self._since = now, self.step
        values = {"loss": loss, "learning_rate": rate, "gradient_norm": norm, "clips_per_second": speed}
        journal.scalars(self.step, values)
        print(f"step {self.step}/{plan.steps} loss {loss:.5f} {speed:.3g} clips/s", flush=True)

    def _film(self, film: Film, journal: Journal) -> None:
        self.exchange()
        try:
            film(self.step, journal)
        finally:
            self.exchange()

    def exchange(self) -> None:
        """Exchange trained and averaged weights (first process); a second call takes it back."""
        if self._ema is not None:
            self._ema.swap(self.weights)

    def _due(self, every: int) -> bool:
        return self.step % every == 0 or self.step == self.plan.steps

    def _set_rate(self) -> float:
        done = self.step / self.plan.steps if self.plan.decay == "cosine" else 0.0
        rate = learning_rate_at(self.plan, self.step, done)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        return rate

    def _one_step(self, batches: Iterator[Batch]) -> tuple[float, float, bool]:
        """Loss, mean over processes; norm of the gradients before clipping; does a process want to stop?"""
        plan, processes = self.plan, self.crew.processes
        mean, norm, stop = 0.0, 0.0, 0.0
        for part in range(plan.accumulate):
            with processes.part_of_step(self._denoiser):
                loss = self._loss(next(batches), self.step * plan.accumulate + part)
                processes.backward(loss)
                mean += float(loss.detach()) / plan.accumulate
                if part == plan.accumulate - 1:
                    mean, stop = processes.means([mean, float(self.crew.stop())])
                    norm = processes.clip(self.weights.values(), plan.max_grad_norm)
                    self._refuse_nonsense(mean, norm)
                self._optimizer.step()
                self._optimizer.zero_grad(set_to_none=True)
        return mean, norm, stop > 0

    def _loss(self, batch: Batch, number: int) -> Tensor:
        noise, rng = seeds_of(self.plan.seed, self.crew.processes.number, number)
        example = self.crew.conditions.prepare(batch, rng)
        return self.crew.loss(self._denoiser, example.clean, example.z_c, example.text, noise)

    def _refuse_nonsense(self, loss: float, norm: float) -> None:
        # fp16's loss scaling meets gradients that are not finite now and then, and passes over that step.
        if math.isfinite(loss) and (math.isfinite(norm) or self.plan.precision == "fp16"):
            return
        kept = self.checkpoints.paths()
        raise FloatingPointError(
            f"step {self.step + 1}: loss {loss}, gradient norm {norm}. The last checkpoint is "
            f"{kept[-1].name if kept else 'none'}: lower learning_rate or max_grad_norm and start again"
        )

    def _save(self) -> None:
        if self._ema is not None:
            state = {
                "parameters": {name: value.detach() for name, value in self.weights.items()},
                "ema": self._ema.shadow,
                "optimizer": self._optimizer.state_dict(),
                "scaler": self.crew.processes.scaler_state(),
            }
            self.checkpoints.save(self.step, state, self.identity)
        self.crew.processes.wait()

    @torch.no_grad()
    def _resume(self) -> None:
        state = self.checkpoints.last(self.identity)
        if state is None:
            return
        for name, weight in self.weights.items():
            weight.copy_(state["parameters"][name])
            if self._ema is not None:
                self._ema.shadow[name].copy_(state["ema"][name])
        self._optimizer.load_state_dict(state["optimizer"])
        self.crew.processes.load_scaler_state(state["scaler"])
        self.step = int(state["step"])
