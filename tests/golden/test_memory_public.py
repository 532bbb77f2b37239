"""What a public pipeline takes beside its weights: counted, and held against what its call really took."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rig.allocated import allocated_peak
from rig.tiny_pipelines import VIDEO_PIPELINES, write_tiny
from torch.utils.flop_counter import FlopCounterMode

from models.appearnet import AppearNet
from models.denoiser import VideoDenoiser
from models.diffusers_video import DiffusersVideo
from models.memory import model_need
from models.memory_need import MemoryNeed
from models.orders import VideoOrder
from models.spec import NANO
from models.stepwise import result_of
from models.tensor_peak import cost_of
from models.unet import InflatedUNet
from worker.device.accelerator import DeviceMemory
from worker.device.plan import GIB, DeviceTooSmall, MemoryPlan, plan_memory
from worker.grace import LEAST_GRACE_S, hang_grace_s

CPU, SIZE = torch.device("cpu"), (64, 64)
# CogVideoX's small causal convolutions unfold their input in scratch that a CPU's kernel takes for itself.
SCRATCH = {"cogvideox": 0.4, "cogvideox-i2v": 0.4}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("folders")
    return {name: write_tiny(name, root) for name in VIDEO_PIPELINES}


@cache
def need_of(folder: Path) -> MemoryNeed:
    return model_need(folder, CPU, sizes=(SIZE,))


def really_taken(folder: Path, frames: int) -> int:
    """By two steps and the decoding of one order at SIZE; not in a thread, where the log would not look."""
    video = DiffusersVideo.load(folder, CPU, name="any", sizes=(SIZE,))
    order = VideoOrder("a red circle", "", 7, 2, 4.0, 0.0, frames, *SIZE)
    takes_picture = video.spec.abilities.keyframe is not None
    picture = np.full((*SIZE, 3), 128, np.uint8) if takes_picture else None
    return allocated_peak(lambda: video._render(order, picture))


@pytest.mark.parametrize("family", VIDEO_PIPELINES)
def test_the_count_is_what_the_pipeline_takes(folders: dict[str, Path], family: str) -> None:
    counted = need_of(folders[family]).activations
    assert counted is not None
    assert (counted.width, counted.height, counted.in_turn) == (*SIZE, True)
    seen = really_taken(folders[family], counted.frames)
    most = max(counted.denoise, counted.encode, counted.decode)
    assert SCRATCH.get(family, 0.75) * seen < most < 1.1 * seen


@pytest.mark.parametrize("family", VIDEO_PIPELINES)
def test_a_card_that_is_too_small_is_refused_with_both_numbers(folders: dict[str, Path], family: str) -> None:
    need = need_of(folders[family])
    total = MemoryPlan(need, DeviceMemory(0, is_host=False), 1, 1).total
    assert total > need.weight_bytes + 1.5 * GIB
    assert plan_memory(need, DeviceMemory(total, is_host=False), max_batch=4).batch == 4  # they run in turn
    few = DeviceMemory(total - GIB // 2, is_host=False)
    said = rf"{family} needs {total / GIB:.2f}.* and the device has {few.total / GIB:.2f} GiB .*at 64x64"
    with pytest.raises(DeviceTooSmall, match=said):
        plan_memory(need, few, max_batch=4)


def test_more_pixels_take_more(folders: dict[str, Path]) -> None:
    small, large = (
        model_need(folders["ltx-i2v"], CPU, sizes=((64, 64), size)).activations for size in (SIZE, (128, 64))
    )
    assert small is not None
    assert large is not None
    assert (large.width, large.height) == (128, 64)
    assert large.decode == pytest.approx(2 * small.decode, rel=0.1)
    assert large.work > 1.9 * small.work


def test_a_build_that_cannot_be_counted_says_so(tmp_path: Path) -> None:
    folder = write_tiny("wan-i2v", tmp_path)
    need = model_need(folder, CPU)  # its table of positions is too short for the family's own sizes
    assert need.activations is None
    assert "cannot be counted" in plan_memory(need, DeviceMemory(16 * GIB, is_host=False), 1).sentence()
    index: dict[str, Any] = json.loads((folder / "model_index.json").read_text())
    index["transformer"] = ["diffusers", "LTXVideoTransformer3DModel"]
    (folder / "model_index.json").write_text(json.dumps(index))
    assert need_of(folder).activations is None


def test_the_clip_of_modelscope_is_decoded_frame_by_frame(folders: dict[str, Path]) -> None:
    video = DiffusersVideo.load(folders["modelscope"], CPU, name="any", sizes=(SIZE,))
    batches: list[int] = []
    video._pipeline.vae.decoder.register_forward_pre_hook(lambda _, z: batches.append(len(z[0])))
    order = VideoOrder("a red circle", "", 7, 2, 4.0, 0.0, 8, *SIZE)
    assert len(result_of(video.animate([order], []))[0]) == 8
    assert batches == [1] * 8


# -- work and grace ------------------------------------------------------------------------------------------


def test_work_is_the_arithmetic_of_products_and_convolutions() -> None:
    a, b = torch.zeros(3, 5), torch.zeros(5, 7)
    assert cost_of(lambda: a @ b).work == 2 * 3 * 5 * 7
    assert cost_of(lambda: a + 1).work == 0
    denoiser, arguments = nano_denoiser()
    with torch.inference_mode():
        counted = cost_of(lambda: denoiser(*arguments)).work
        with FlopCounterMode(display=False) as torchs_own:
            denoiser(*arguments)
    assert counted == torchs_own.get_total_flops() > 1e6


def nano_denoiser() -> tuple[Any, tuple[torch.Tensor, ...]]:
    with torch.device("meta"):
        network = VideoDenoiser(InflatedUNet(NANO.unet), AppearNet(NANO.unet))
        shape = NANO.latent_shape(*NANO.sizes[0])
        text = torch.empty(2, 77, NANO.unet.text_width)
        return network, (torch.empty(2, 4, *shape), torch.empty(2, *shape), torch.empty(2), text)


def test_the_grace_grows_with_the_counted_work_and_a_setting_is_obeyed(folders: dict[str, Path]) -> None:
    need = need_of(folders["svd"])
    assert need.activations is not None
    work = need.activations.work
    host = MemoryPlan(need, DeviceMemory(16 * GIB, is_host=True), 1, 1)
    card = MemoryPlan(need, DeviceMemory(16 * GIB, is_host=False), 4, 1)
    assert hang_grace_s(host, None) == pytest.approx(LEAST_GRACE_S + work / 5e9)
    assert LEAST_GRACE_S < hang_grace_s(card, None) == pytest.approx(LEAST_GRACE_S + work / 10e12)
    assert hang_grace_s(card, 7.0) == 7.0
    uncounted = MemoryPlan(MemoryNeed("any", {}, None), DeviceMemory(GIB, is_host=False), 1, 1)
    assert hang_grace_s(uncounted, None) == LEAST_GRACE_S
