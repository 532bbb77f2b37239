"""One training in one process or many: accelerate enters here.

`python -m ...` runs one process, `accelerate launch --num_processes N -m ...` N of them, one per GPU (or on
CPUs, over gloo). What is said of a mean is the same number in every process, so that all decide alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Self

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.state import AcceleratorState, GradientState
from torch import Tensor, nn

from models.training.scale.plan import Precision


class Processes:
    """This process among its fellows. Raises ValueError for a precision that its device does not have."""

    def __init__(self, precision: Precision, accumulate: int) -> None:
        if precision == "fp16" and not torch.cuda.is_available():
            raise ValueError('precision is "fp16", which needs a GPU; take "no" or "bf16"')
        self._accelerator = Accelerator(
            mixed_precision=precision,
            # gradients travel in the buckets where they lie, not in copies as large as themselves
            kwargs_handlers=[DistributedDataParallelKwargs(gradient_as_bucket_view=True)],
            gradient_accumulation_steps=accumulate,
            step_scheduler_with_optimizer=False,
        )

    @property
    def number(self) -> int:
        """From 0."""
        return int(self._accelerator.process_index)

    @property
    def count(self) -> int:
        return int(self._accelerator.num_processes)

    @property
    def first(self) -> bool:
        """The one that writes."""
        return bool(self._accelerator.is_main_process)

    @property
    def device(self) -> torch.device:
        device: torch.device = self._accelerator.device
        return device

    def join(
        self, network: nn.Module, optimizer: torch.optim.Optimizer
    ) -> tuple[nn.Module, torch.optim.Optimizer]:
        """Both, wrapped: gradients become means over processes, arithmetic takes the wanted precision."""
        network, optimizer = self._accelerator.prepare(network, optimizer)
        return network, optimizer

    def part_of_step(self, network: nn.Module) -> AbstractContextManager[object]:
        """Around each part of a step: gradients travel, and the optimiser moves, in the last part alone."""
        context: AbstractContextManager[object] = self._accelerator.accumulate(network)
        return context

    def backward(self, loss: Tensor) -> None:
        self._accelerator.backward(loss)

    def clip(self, weights: Iterable[nn.Parameter], norm: float) -> float:
        """Scale the gradients down to `norm`; returns what their norm was."""
        return float(self._accelerator.clip_grad_norm_(list(weights), norm))

    def means(self, values: Sequence[float]) -> list[float]:
        """Means over all processes; every process must call it at the same point."""
        here = torch.tensor(values, dtype=torch.float32, device=self.device)
        together: list[float] = self._accelerator.reduce(here, "mean").tolist()
        return together

    def wait(self) -> None:
        """Until every process is here."""
        self._accelerator.wait_for_everyone()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Part from the others. accelerate's state is global: forgotten, so that another may follow."""
        self._accelerator.end_training()
        AcceleratorState._reset_state(reset_partial_state=True)
        GradientState._reset_state()

    def scaler_state(self) -> dict[str, Any] | None:
        """State of fp16's loss scaling; None without it."""
        scaler = self._accelerator.scaler
        return None if scaler is None else dict(scaler.state_dict())

    def load_scaler_state(self, state: Mapping[str, Any] | None) -> None:
        scaler = self._accelerator.scaler
        if scaler is not None and state is not None:
            scaler.load_state_dict(dict(state))
