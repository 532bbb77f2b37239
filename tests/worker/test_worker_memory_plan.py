"""The memory plan: what is shared out, what is lowered, and what is refused before anything is loaded."""

from __future__ import annotations

import dataclasses
import gc
import json
import os
from pathlib import Path
from typing import Any

import pytest
import structlog
import torch
from rig.forked import Forked

from models.memory_need import Activations, MemoryNeed
from models.nano import write_nano
from models.spec import NANO
from models.thrift import Thrift
from worker.device.accelerator import DeviceMemory, TorchAccelerator
from worker.device.host import host_memory
from worker.device.plan import GIB, MAX_DECODE_CHUNK, DeviceTooSmall, MemoryPlan, plan_memory
from worker.loading import WrongSettings, plan_of
from worker.main import EXIT_SETTINGS, serve
from worker.memory_events import MemoryPlanned
from worker.metrics import WorkerMetrics
from worker.readiness import keep_for_good, tell_plan, warm_up
from worker.settings import WorkerSettings

MIB = 2**20
SD = MemoryNeed(
    "microcinema-sd21",
    {"unet": 2 * GIB, "appearnet": GIB},
    Activations(denoise=5 * GIB, encode=300 * MIB, decode=500 * MIB, width=512, height=512, frames=32),
)


def card(gib: float) -> DeviceMemory:
    return DeviceMemory(int(gib * GIB), is_host=False)


def test_the_sum_is_weights_the_largest_stage_and_a_reserve() -> None:
    made = plan_memory(SD, card(24), max_batch=1)
    assert made.activations == 5 * GIB
    assert made.reserve == int(1.5 * GIB) + int(0.15 * 5 * GIB)
    assert made.total == 3 * GIB + made.activations + made.reserve
    assert (made.batch, made.decode_chunk) == (1, MAX_DECODE_CHUNK)
    facts = made.facts()
    assert (facts["needed_gib"], facts["device_gib"], facts["weights_gib"]) == (10.25, 24.0, 3.0)
    assert facts["weights"] == {"unet": 2.0, "appearnet": 1.0}


def test_a_card_that_is_too_small_is_refused_with_both_numbers_and_the_sum() -> None:
    with pytest.raises(DeviceTooSmall) as refused:
        plan_memory(SD, card(10), max_batch=4)
    sentence = str(refused.value)
    assert "microcinema-sd21 needs 10.25 GiB of memory and the device has 10.0 GiB" in sentence
    assert "weights 3.0, activations 5.0 for 32 frames at 512x512, batch 1, reserve 2.25" in sentence
    plan_memory(SD, card(10.25), max_batch=4)  # a byte more than needed is enough


@pytest.mark.parametrize(("gib", "batch"), [(11, 1), (16, 2), (24, 3), (48, 4)])
def test_a_batch_that_does_not_fit_is_lowered(gib: int, batch: int) -> None:
    made = plan_memory(SD, card(gib), max_batch=4)
    assert made.batch == batch
    assert made.fits
    assert batch == 4 or not dataclasses.replace(made, batch=batch + 1).fits


def test_as_many_frames_are_decoded_at_once_as_denoising_has_paid_for() -> None:
    assert SD.activations is not None
    tight = dataclasses.replace(SD, activations=dataclasses.replace(SD.activations, denoise=1600 * MIB))
    assert plan_memory(tight, card(24), 1).decode_chunk == 3
    assert plan_memory(tight, card(24), 1).activations == 1600 * MIB
    none = dataclasses.replace(SD, activations=dataclasses.replace(SD.activations, denoise=1, encode=1))
    assert plan_memory(none, card(24), 1).decode_chunk == 1
    short = dataclasses.replace(SD, activations=dataclasses.replace(SD.activations, frames=2))
    assert plan_memory(short, card(24), 1).decode_chunk == 2
    assert plan_memory(SD, DeviceMemory(24 * GIB, is_host=True), 1).decode_chunk == 1


def test_what_cannot_be_counted_is_planned_by_its_weights_and_says_so() -> None:
    made = plan_memory(dataclasses.replace(SD, activations=None), card(5), max_batch=2)
    assert (made.total, made.batch) == (int(4.5 * GIB), 2)
    assert "cannot be counted" in made.sentence()
    assert made.facts()["activations_gib"] is None


def test_a_picture_model_beside_it_counts_by_its_own_name() -> None:
    both = SD.beside(MemoryNeed("sdxl", {"unet": 5 * GIB}, None), "stage 1")
    assert both.weights == {"unet": 2 * GIB, "appearnet": GIB, "stage 1 unet": 5 * GIB}
    assert both.weight_bytes == 8 * GIB
    assert (both.name, both.activations) == (SD.name, SD.activations)
    large = SD.beside(MemoryNeed("sdxl", {}, None, paint=6 * GIB), "stage 1")
    assert plan_memory(large, card(24), 1).activations == 6 * GIB  # its picture is the peak


@pytest.mark.parametrize("chunk", [0, -1])
def test_thrift_names_a_chunk_that_is_none(chunk: int) -> None:
    with pytest.raises(ValueError, match=f"decode_chunk {chunk} is less than 1"):
        Thrift(decode_chunk=chunk)


# -- a worker's start ----------------------------------------------------------------------------------------


def test_the_plan_is_told_and_logged_with_a_warning_if_the_batch_was_lowered(ward: Any) -> None:
    with structlog.testing.capture_logs() as lines:
        tell_plan(ward.plan(3), 3, 120.4, ward.told.append)
        tell_plan(ward.plan(3), 5, 120.4, ward.told.append)
    assert [line["event"] for line in lines] == ["memory_plan", "memory_plan", "max_batch_lowered"]
    assert (lines[0]["needed_gib"], lines[0]["device_gib"]) == (2.5, 16.0)
    assert lines[0]["hang_grace_s"] == 120
    assert (lines[2]["MICROCINEMA_MAX_BATCH"], lines[2]["fits"], lines[2]["log_level"]) == (5, 3, "warning")
    told = ward.heard(MemoryPlanned)[0]
    assert (told.weights, told.device) == (GIB, 16 * GIB)
    metrics = WorkerMetrics()
    metrics.tell(told)
    planned = "microcinema_worker_memory_planned_bytes"
    assert metrics.registry.get_sample_value(planned, {"part": "device"}) == 16 * GIB


def test_a_lowered_batch_is_what_the_worker_claims(ward: Any) -> None:
    ward.plan = lambda max_batch: MemoryPlan(SD, card(16), min(max_batch, 2), 4)
    for job_id in ("video_a", "video_b", "video_c"):
        ward.submit(job_id)
    ward.worker(max_batch=3).engine.run_ticket()
    assert [len(orders) for orders in ward.renderer.animated] == [2]


def test_serving_stops_before_loading_when_the_card_is_too_small(ward: Any) -> None:
    def refuse(_: int) -> MemoryPlan:
        raise WrongSettings("too small")

    ward.plan = refuse
    with pytest.raises(WrongSettings):
        serve(ward.parts(), WorkerMetrics())
    assert ward.loads == 0


def test_memory_that_runs_out_while_warming_up_is_explained_by_the_plan(ward: Any) -> None:
    def exhaust() -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    ward.renderer.warm_up = exhaust
    with pytest.raises(WrongSettings, match=r"warming up .* needs .* GiB .* is another process"):
        warm_up(ward.load(), ward.plan(1))

    def break_down() -> None:
        raise RuntimeError("something else")

    ward.renderer.warm_up = break_down
    with pytest.raises(RuntimeError, match="something else"):
        warm_up(ward.load(), ward.plan(1))


@pytest.fixture(scope="module")
def nano(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "nano"
    write_nano(path)
    return path


def test_the_real_plan_of_a_folder_on_this_machine(nano: Path) -> None:
    made = plan_of(WorkerSettings(weights=nano, device="cpu"))
    assert made.need.name == NANO.name
    assert made.device == DeviceMemory(host_memory(), is_host=True)
    assert set(made.need.weights) == {"unet", "temporal", "appearnet", "vae", "text_encoder"}
    assert made.decode_chunk == 1
    assert made.fits


def test_a_folder_that_is_none_is_named_by_its_setting(tmp_path: Path) -> None:
    (tmp_path / "cinema.json").write_text("{}")
    with pytest.raises(WrongSettings, match="MICROCINEMA_WEIGHTS"):
        plan_of(WorkerSettings(weights=tmp_path, device="cpu"))


def test_a_worker_process_refuses_a_machine_that_is_too_small_with_78(
    nano: Path, tmp_path: Path, redis_url: str
) -> None:
    """A folder that says it makes films of a length and size that no machine can hold."""
    huge = tmp_path / "huge"
    huge.mkdir()
    for path in nano.iterdir():
        if path.name not in ("cinema.json", "manifest.json"):
            (huge / path.name).symlink_to(path)
    words = json.loads((nano / "cinema.json").read_text())
    words["frames"] = {"minimum": 2, "maximum": 4_000_000, "default": 4, "step": 1}
    (huge / "cinema.json").write_text(json.dumps(words))
    environment = {
        "REDIS_URL": redis_url,
        "MICROCINEMA_WEIGHTS": str(huge),
        "MICROCINEMA_DEVICE": "cpu",
        "MICROCINEMA_STORAGE_DIR": str(tmp_path / "objects"),
    }
    worker = Forked("worker", "worker.main", environment, tmp_path / "worker.log").start()
    assert worker.wait(60) == EXIT_SETTINGS == 78
    line = next(line for line in worker.output().splitlines() if "cannot_start" in line)
    problem = json.loads(line)["problem"]
    assert "nano needs" in problem
    assert "4000000 frames at 32x32" in problem
    assert f"this machine has {round(host_memory() / GIB, 2)} GiB" in problem


# -- how much there is ---------------------------------------------------------------------------------------


def test_a_cpu_has_what_its_machine_or_container_has() -> None:
    assert TorchAccelerator(torch.device("cpu")).memory() == DeviceMemory(host_memory(), is_host=True)
    assert 2**28 < host_memory() <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@pytest.mark.parametrize(
    ("groups", "limits", "wanted"),
    [
        ("0::/\n", {"memory.max": "1000000\n"}, 1_000_000),
        ("0::/pod/box\n", {"pod/memory.max": "700\n", "pod/box/memory.max": "900\n"}, 700),
        ("0::/pod/box\n", {"memory.max": "5000\n"}, 5000),  # a container's mount begins at its own group
        ("4:cpu:/\n3:memory:/box\n", {"memory/box/memory.limit_in_bytes": "800\n"}, 800),
        ("0::/\n", {"memory.max": "max\n"}, None),
        ("", {}, None),
    ],
)
def test_container_limits_of_both_kinds(
    tmp_path: Path, groups: str, limits: dict[str, str], wanted: int | None
) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(groups)
    for name, text in limits.items():
        file = tmp_path / "sys/fs/cgroup" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert host_memory(tmp_path) == (machine if wanted is None else wanted)


def test_what_a_worker_has_loaded_is_not_looked_through_again(ward: Any) -> None:
    """A collection holds Python's lock for as long as it looks, and with it the beats."""
    loaded = ward.load()
    looked_through = len(gc.get_objects())
    try:
        assert keep_for_good(loaded) is loaded
        assert len(gc.get_objects()) < looked_through / 10
    finally:
        gc.unfreeze()
