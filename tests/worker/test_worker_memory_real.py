"""The real networks, with one module in them that finds no memory, through the whole worker."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from models.cinema import Cinema, frame_digest
from models.nano import write_nano
from models.sampler import SAMPLERS
from service.contracts.failure import FailureCode
from service.contracts.lifecycle import State
from worker.device.accelerator import TorchAccelerator
from worker.loading import Loaded
from worker.memory_events import MemoryRungClimbed, MemoryRungHelped

WISH = {"model": "nano", "width": 32, "height": 32, "num_inference_steps": 4, "sampler": "ddim"}


@pytest.fixture
def cinema(tmp_path: Path) -> Cinema:
    write_nano(tmp_path / "nano")
    return Cinema.load(tmp_path / "nano", device="cpu")


@pytest.fixture
def worker(ward: Any, cinema: Cinema) -> Any:
    ward.load = lambda: Loaded(cinema, tuple(SAMPLERS), TorchAccelerator(torch.device("cpu")))
    # Nobody beats here, and real networks take their time. No previews: they use the decoder as well.
    return ward.worker(lease_s=60.0, preview_bytes=0)


def short_of_memory(when: Callable[[Any], bool]) -> Callable[[Any, Any], None]:
    """A hook before a module's forward."""

    def hook(_: Any, inputs: Any) -> None:
        if when(inputs[0]):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    return hook


def digest(ward: Any, job_id: str) -> str:
    word: str = ward.job(job_id).artifact.frame_digest
    return word


def test_a_decoder_without_room_for_two_frames_takes_one_and_makes_the_same_film(
    ward: Any, worker: Any, cinema: Cinema
) -> None:
    decoder = cinema._borders[1].decoder
    sizes: list[int] = []

    def too_many(z: torch.Tensor) -> bool:
        sizes.append(z.shape[0])
        return z.shape[0] > 1

    hook = decoder.register_forward_pre_hook(short_of_memory(too_many))
    ward.submit("video_a", **WISH)
    worker.engine.run_ticket()
    hook.remove()
    job = ward.job("video_a")
    assert job.state is State.SUCCEEDED
    assert sizes == [1, 4, 1, 1, 1, 1]  # the keyframe; the plan's chunk; frame by frame
    assert [event.rung for event in ward.heard(MemoryRungHelped)] == ["one_frame"]
    assert job.artifact.frame_digest == digest_of_a_calm_run(cinema)


def digest_of_a_calm_run(cinema: Cinema) -> str:
    """What the job's request renders to without a worker."""
    film = cinema(
        "a red circle moves left", 7, steps=4, guidance_scale=5.0, gamma=0.02, num_frames=4, sampler="ddim"
    )
    assert film.digest == frame_digest(film.frames)
    return film.digest


@pytest.mark.parametrize(("times", "state"), [(1, State.SUCCEEDED), (2, State.FAILED)])
def test_a_denoiser_that_finds_no_memory_n_times(
    ward: Any, worker: Any, cinema: Cinema, times: int, state: State
) -> None:
    left = iter(range(times))
    full = short_of_memory(lambda _: next(left, None) is not None)
    hook = cinema._stage_two._denoiser.register_forward_pre_hook(full)
    ward.submit("video_a", **WISH)
    worker.engine.run_ticket()
    hook.remove()
    assert ward.job("video_a").state is state
    assert [event.rung for event in ward.heard(MemoryRungClimbed)] == ["park_idle"]
    if state is State.FAILED:
        assert ward.job("video_a").failure.code is FailureCode.OUT_OF_MEMORY
    ward.submit("video_b", **WISH)
    worker.engine.run_ticket()
    assert ward.job("video_b").state is State.SUCCEEDED
    if state is State.SUCCEEDED:
        assert digest(ward, "video_a") == digest(ward, "video_b")
