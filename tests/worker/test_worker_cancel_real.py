"""A cancel in the middle of stage 2, with the real classes: all memory that the job took is given back."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import pytest
import torch
from rig.allocated import allocated_and_left

from models.cinema import Cinema
from models.nano import write_nano
from models.sampler import SAMPLERS
from service.contracts.lifecycle import State
from worker.device.accelerator import TorchAccelerator
from worker.loading import Loaded

LEASE_S = 300.0  # nobody beats here but the test
STEPS = 4


class Interrupted:
    """The model itself; calls `at_step` behind each step of stage 2."""

    def __init__(self, cinema: Cinema) -> None:
        self.cinema, self.at_step, self.steps = cinema, lambda _: None, []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.cinema, name)

    def animate(self, orders: Any, keyframes: Any) -> Any:
        work = self.cinema.animate(orders, keyframes)
        for progress in work:
            self.steps.append(progress.step)
            self.at_step(progress.step)
            yield progress


@pytest.fixture
def model(ward: Any, tmp_path: Path) -> Interrupted:
    write_nano(tmp_path / "nano")
    model = Interrupted(Cinema.load(tmp_path / "nano", device="cpu"))
    accelerator = TorchAccelerator(torch.device("cpu"))
    ward.load = lambda: Loaded(model, tuple(SAMPLERS), accelerator)
    return model


def held_by_tensors() -> int:
    """Bytes of all storages that a tensor in Python's sight holds."""
    gc.collect()
    found = [one for one in gc.get_objects() if issubclass(type(one), torch.Tensor)]
    return sum({one.untyped_storage().data_ptr(): one.untyped_storage().nbytes() for one in found}.values())


def test_a_cancelled_job_leaves_no_tensor_and_no_allocation_behind(ward: Any, model: Interrupted) -> None:
    spec = model.cinema.spec
    width, height = spec.sizes[0]
    shape = {"width": width, "height": height, "num_frames": spec.frames.minimum}
    fields = {"model": spec.name, "num_inference_steps": STEPS, **shape}
    worker = ward.worker(lease_s=LEASE_S)

    def cancelled(job_id: str) -> None:
        def cancel(step: int) -> None:
            held_then.append(held_by_tensors())
            ward.store.cancel("default", job_id)
            worker.leases.beat(lambda held: ward.store.beat("w1", held, LEASE_S))

        ward.submit(job_id, **fields)
        model.at_step = cancel
        worker.engine.run_ticket()
        assert ward.job(job_id).state is State.CANCELLED
        gc.collect()

    held_then: list[int] = []
    cancelled("video_first")  # what is set up once and kept
    before = held_by_tensors()
    peak, left = allocated_and_left(lambda: cancelled("video_second"))
    assert model.steps == [1, 1]  # of four each: a cancel is heard behind the step that it met
    assert held_then[-1] > before  # in the middle of the stage there was something to give back
    assert held_by_tensors() == before
    assert peak > 0
    assert left == 0
    assert [key for key in ward.objects() if key.endswith(".mp4")] == []
