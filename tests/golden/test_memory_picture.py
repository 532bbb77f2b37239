"""How much arithmetic a picture model is taken to need, against what its pipeline's own call really does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from rig.tiny_pipelines import PICTURE_PIPELINES, write_tiny
from torch.utils.flop_counter import FlopCounterMode

from models.diffusers_picture import DiffusersPicture
from models.memory import model_need, picture_model_need
from models.memory_picture import paint_work, picture_cells
from models.nano import write_nano
from models.orders import PictureOrder
from worker.device.accelerator import DeviceMemory
from worker.device.plan import GIB, MemoryPlan
from worker.grace import LEAST_GRACE_S, hang_grace_s

CPU = torch.device("cpu")
UNETS = ("sd15", "sd21", "sdxl")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("folders")
    write_nano(root / "nano")
    return {"nano": root / "nano", **{name: write_tiny(name, root) for name in PICTURE_PIPELINES}}


def really_done(folder: Path, side: int) -> dict[str, int]:
    """FLOP of the first call of each component while one picture is painted in one or two steps."""
    painter = DiffusersPicture.load(folder, CPU)
    pipeline: Any = painter._pipeline
    done: dict[str, int] = {}

    def count(name: str, network: Any) -> None:
        forward = network.forward

        def counted(*arguments: Any, **named: Any) -> Any:
            with FlopCounterMode(display=False) as counter:
                made = forward(*arguments, **named)
            done[name] = done.get(name, 0) or counter.get_total_flops()
            return made

        network.forward = counted

    for name, part in pipeline.components.items():
        if isinstance(part, torch.nn.Module) and name != "vae":
            count(name, part)
    count("vae", pipeline.vae.decoder)
    painter._paint_one(PictureOrder("a red circle", "blurred", 7, 2, 3.0, side, side))
    return done


@pytest.mark.parametrize("family", PICTURE_PIPELINES)
def test_a_step_is_counted_or_bounded_from_above(folders: dict[str, Path], family: str) -> None:
    side = 128 if family == "flux" else 32
    need, done = picture_model_need(folders[family], CPU), really_done(folders[family], side)
    step = done["unet" if family in UNETS else "transformer"]
    counted, _ = paint_work(folders[family], need.weights, torch.float32, picture_cells(folders[family]))
    assert 1e5 < step <= counted <= need.paint_work
    if family in UNETS:
        assert counted < 1.5 * step  # counted with CLIP's 77 tokens, these tokenizers have 24
    assert done["vae"] <= need.paint_work
    encoders = [work for name, work in done.items() if name.startswith("text_encoder")]
    assert 0 < sum(encoders) <= need.prompt_work


def test_the_largest_picture_is_counted_where_it_is_larger_than_the_models_own(
    folders: dict[str, Path],
) -> None:
    folder = folders["sd15"]  # its own size is 8 cells of 4 pixels
    assert picture_cells(folder) == picture_cells(folder, (16, 16)) == (8, 8)
    assert picture_cells(folder, (96, 64)) == (16, 24)
    own, large = picture_model_need(folder, CPU), picture_model_need(folder, CPU, (96, 64))
    assert large.paint > 4 * own.paint
    assert large.paint_work > 4 * own.paint_work


def test_the_grace_is_that_of_the_slower_stage_and_the_prompts(folders: dict[str, Path]) -> None:
    alone, painter = model_need(folders["nano"], CPU), picture_model_need(folders["flux"], CPU)
    both = alone.beside(painter, "stage 1")
    assert alone.activations is not None
    assert painter.paint_work > alone.activations.work  # 4608 positions against a handful
    host = MemoryPlan(both, DeviceMemory(16 * GIB, is_host=True), 1, 1)
    assert host.work == painter.paint_work + painter.prompt_work
    assert hang_grace_s(host, None) == pytest.approx(LEAST_GRACE_S + host.work / 5e9)
    small = MemoryPlan(alone, DeviceMemory(16 * GIB, is_host=True), 1, 1)
    assert small.work == alone.activations.work
