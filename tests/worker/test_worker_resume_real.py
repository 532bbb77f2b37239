"""The shipped weights through the whole worker: a killed attempt costs its successor no call again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from models.cinema import MICRO_WEIGHTS, Cinema
from models.precision import network_dtype
from models.sampler import SAMPLERS
from models.weights import load_parts
from service.contracts.lifecycle import State
from worker.device.accelerator import TorchAccelerator
from worker.events import Resumed
from worker.loading import Loaded

STEPS = 7
WISH = {
    "model": "microcinema-micro",
    "prompt": "a red circle moving right on a white background",
    "width": 64,
    "height": 64,
    "num_frames": 16,
    "num_inference_steps": STEPS,
    "guidance_scale": 3.0,
}


class Killed(BaseException):
    """What kill -9 looks like from inside."""


class Watched(nn.Module):
    """Stands for a network: counts its calls, and does something before one of them."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.calls = network, 0
        self.before: dict[int, Callable[[], Any]] = {}

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self.network, name)

    def forward(self, *inputs: Any) -> Any:
        self.calls += 1
        self.before.get(self.calls, int)()
        return self.network(*inputs)


@pytest.fixture(scope="module")
def micro() -> tuple[Cinema, Watched]:
    device = torch.device("cpu")
    parts = load_parts(MICRO_WEIGHTS, device, network_dtype(device))
    main = Watched(parts.main)
    return Cinema(replace(parts, main=main), device), main


@pytest.fixture
def cinema(ward: Any, micro: tuple[Cinema, Watched]) -> tuple[Cinema, Watched]:
    cinema, main = micro
    main.calls, main.before = 0, {}
    ward.load = lambda: Loaded(cinema, tuple(SAMPLERS), TorchAccelerator(torch.device("cpu")))
    return micro


def raise_killed() -> None:
    raise Killed


@pytest.mark.parametrize("sampler", ["ddim", "dpm++2m"])
def test_a_killed_attempt_is_gone_on_with_to_the_same_frames(
    ward: Any, cinema: tuple[Cinema, Watched], sampler: str
) -> None:
    _, main = cinema
    ward.submit("video_whole", sampler=sampler, **WISH)
    ward.worker("w0", lease_s=600.0).engine.run_ticket()
    assert main.calls == STEPS

    first = ward.worker("w1", checkpoint_every_s=0.0, lease_s=600.0)
    main.calls = 0
    main.before = dict.fromkeys(range(1, STEPS), first.checkpoints.flush) | {5: raise_killed}
    ward.submit(sampler=sampler, **WISH)
    with pytest.raises(Killed):
        first.engine.run_ticket()
    assert (ward.job().state, ward.job().checkpoint.step) == (State.RUNNING, 3)
    assert ward.store.release("video_a", 1, "its lease ran out", counts_as_loss=True)

    main.calls, main.before = 0, {}
    second = ward.worker("w2", lease_s=600.0)
    second.engine.run_ticket()
    job = ward.job()
    assert (job.state, job.attempt, job.lost) == (State.SUCCEEDED, 2, 1)
    assert main.calls == STEPS - 3
    assert job.keyframe.key == "default/video_a/1/keyframe.png"
    assert job.artifact.frame_digest == ward.job("video_whole").artifact.frame_digest
    assert ward.heard(Resumed) == [Resumed("video_a", 2, 3)]
