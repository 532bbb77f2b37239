"""A clip that was kept behind any step ends in the bits of an undisturbed one, for the remaining calls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from models.checkpoint import belongings, read_checkpoint, write_checkpoint
from models.cinema import Cinema
from models.errors import CheckpointUnfit
from models.nano import write_nano
from models.orders import Progress, VideoOrder
from models.precision import network_dtype
from models.sampler import SampleStep
from models.spec import MICRO, NANO
from models.stepwise import result_of
from models.video_families import VIDEO_FAMILIES
from models.weights import load_parts

ORDER = VideoOrder("a red circle", "blue", 3, 4, 2.0, 0.02, 4, 32, 32)
KEYFRAME = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)


class Counting(nn.Module):
    """A network that counts its calls."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.calls = network, 0

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self.network, name)

    def forward(self, *inputs: Any) -> Any:
        self.calls += 1
        return self.network(*inputs)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("nano")
    write_nano(path)
    return path


@pytest.fixture(scope="module")
def counted(folder: Path) -> tuple[Cinema, Counting, Counting]:
    device = torch.device("cpu")
    parts = load_parts(folder, device, network_dtype(device))
    main, appearnet = Counting(parts.main), Counting(parts.appearnet)
    return Cinema(replace(parts, main=main, appearnet=appearnet), device), main, appearnet


@pytest.fixture(scope="module")
def cinema(counted: tuple[Cinema, Counting, Counting]) -> Cinema:
    return counted[0]


def kept_until_closed(cinema: Cinema, order: VideoOrder, step: int) -> bytes:
    """What is kept behind `step`, after which the work is closed."""
    work = cinema.animate([order], [KEYFRAME])
    progress = [next(work) for _ in range(step)][-1]
    work.close()
    assert progress.keep is not None
    return progress.keep(0)


@pytest.mark.parametrize("guidance", [1.0, 2.0])
@pytest.mark.parametrize("sampler", ["ddim", "dpm++2m"])
def test_every_split_ends_in_the_same_bits_for_the_remaining_calls(
    counted: tuple[Cinema, Counting, Counting], sampler: str, guidance: float
) -> None:
    cinema, main, appearnet = counted
    order = replace(ORDER, sampler=sampler, guidance_scale=guidance)
    undisturbed = result_of(cinema.animate([order], [KEYFRAME]))
    for step in range(1, order.steps + 1):
        kept = kept_until_closed(cinema, order, step)
        main.calls = appearnet.calls = 0
        resumed = result_of(cinema.animate([replace(order, after=kept)], [KEYFRAME]))
        assert torch.equal(resumed, undisturbed), step
        assert main.calls == appearnet.calls == order.steps - step


def test_progress_goes_on_where_it_was_and_keeps_the_same_latents_again(cinema: Cinema) -> None:
    undisturbed = list(cinema.animate([ORDER], [KEYFRAME]))
    kept = kept_until_closed(cinema, ORDER, 2)
    resumed = list(cinema.animate([replace(ORDER, after=kept)], [KEYFRAME]))
    assert [(p.step, p.steps) for p in resumed] == [(3, 4), (4, 4)]
    for again, before in zip(resumed, undisturbed[2:], strict=True):
        kept_again, kept_before = load(again.keep(0)), load(before.keep(0))
        assert all(torch.equal(kept_again[name], kept_before[name]) for name in ("z", "x_0"))


def test_each_clip_of_a_batch_is_kept_as_its_own_and_goes_on_alone(cinema: Cinema) -> None:
    orders = [replace(ORDER, seed=seed, prompt=prompt) for seed, prompt in ((1, "one"), (2, "two"))]
    keyframes = [KEYFRAME, KEYFRAME[::-1]]
    work = cinema.animate(orders, keyframes)
    next(work)
    behind: Progress = next(work)
    together = result_of(work)
    for row, (order, keyframe) in enumerate(zip(orders, keyframes, strict=True)):
        alone = result_of(cinema.animate([replace(order, after=behind.keep(row))], [keyframe]))[0]
        assert (alone - together[row]).abs().max() / together[row].std() <= 1e-5
    with pytest.raises(CheckpointUnfit, match="'keyframe' is not this run's"):
        result_of(cinema.animate([replace(orders[0], after=behind.keep(1))], [keyframes[0]]))
    with pytest.raises(ValueError, match="runs alone, got 2"):
        result_of(cinema.animate([replace(orders[0], after=behind.keep(0)), orders[1]], keyframes))


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "a blue square"},
        {"negative_prompt": ""},
        {"seed": 4},
        {"steps": 5},
        {"guidance_scale": 3.0},
        {"gamma": 0.0},
        {"num_frames": 7},
        {"sampler": "ddim"},
        {"guidance_high": 0.9},
    ],
)
def test_what_was_kept_for_another_order_is_refused(cinema: Cinema, change: dict[str, Any]) -> None:
    kept = kept_until_closed(cinema, ORDER, 2)
    reason = "'steps' is not" if "steps" in change else "'order' is not this run's"
    with pytest.raises(CheckpointUnfit, match=reason):
        next(cinema.animate([replace(ORDER, **change, after=kept)], [KEYFRAME]))


def test_what_other_weights_or_another_picture_led_to_is_refused(cinema: Cinema, tmp_path: Path) -> None:
    kept = kept_until_closed(cinema, ORDER, 2)
    write_nano(tmp_path / "other", seed=1)
    other = Cinema.load(tmp_path / "other", device="cpu")
    with pytest.raises(CheckpointUnfit, match="'weight_hash' is not this run's"):
        next(other.animate([replace(ORDER, after=kept)], [KEYFRAME]))
    with pytest.raises(CheckpointUnfit, match="'keyframe' is not"):
        next(cinema.animate([replace(ORDER, after=kept)], [KEYFRAME + 1]))


SHAPE = (1, 4, 4, 8, 8)
BELONGS = belongings(ORDER, KEYFRAME, "w" * 64)


def body(step: int = 2, z: Tensor | None = None, **header: str) -> bytes:
    x = torch.zeros(SHAPE)
    return write_checkpoint(SampleStep(step, 4, x if z is None else z, x + 1), 0, {**BELONGS, **header})


def without(name: str) -> bytes:
    tensors = load(body())
    del tensors[name]
    return save(tensors, {"step": "2", **BELONGS})


@pytest.mark.parametrize(
    ("damaged", "reason"),
    [
        (lambda: b"", "cannot be read"),
        (lambda: b"not safetensors", "cannot be read"),
        (lambda: body()[:-5], "cannot be read"),
        (lambda: body()[:40], "cannot be read"),
        (lambda: b"\xff" * 8 + body()[8:], "cannot be read"),
        (lambda: save({"z": torch.zeros(1)}), "cannot be read"),
        (lambda: without("x_0"), "cannot be read: KeyError: 'x_0'"),
        (lambda: body(step=0), "its step 0 is not one of 4"),
        (lambda: body(step=5), "its step 5 is not one of 4"),
        (lambda: body(recipe="0"), "'recipe' is not"),
        (lambda: body(z=torch.zeros(1, 3, 4, 8, 8)), r"holds torch.float32 \(1, 3, 4, 8, 8\)"),
        (lambda: body(z=torch.full(SHAPE, float("nan"))), "not finite"),
    ],
)
def test_what_this_run_could_not_have_written_is_refused_with_the_reason(
    damaged: Callable[[], bytes], reason: str
) -> None:
    with pytest.raises(CheckpointUnfit, match=reason):
        read_checkpoint(damaged(), SHAPE, BELONGS)
    sound = read_checkpoint(body(), SHAPE, BELONGS)
    assert (sound.index, sound.steps) == (2, 4)
    assert torch.equal(sound.x_0, torch.ones(SHAPE))


def test_models_say_whether_they_go_on_where_they_were() -> None:
    assert NANO.abilities.resumes
    assert MICRO.abilities.resumes
    assert not any(family.abilities("epsilon").resumes for family in VIDEO_FAMILIES.values())
