"""Public pipelines between two steps: what they seem to become, and that nobody's looking changes it.

What is expected is told by the pipelines themselves: the latents that each hands to its own autoencoder in
the end are those that the last look has seen, in the right order and on the autoencoder's own scale.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    HeunDiscreteScheduler,
    TCDScheduler,
    UniPCMultistepScheduler,
)
from rig.tiny_films import ORDER, SIZE, keyframes
from rig.tiny_pipelines import PICTURE_PIPELINES, VIDEO_PIPELINES, write_tiny

from models.diffusers_picture import DiffusersPicture
from models.diffusers_video import DiffusersVideo
from models.orders import PictureOrder, Progress
from models.pipeline_look import LAYOUTS, PipelineLook
from models.stepwise import pipeline_steps
from models.vae import glimpse_of, shrunk
from models.video_families import VIDEO_FAMILIES

CPU = torch.device("cpu")
PICTURE = PictureOrder("a red circle", "", 7, 4, 3.0, 64, 64)
#: These end on what they last took to be clean; DDIM and PNDM one small step before.
EXACT = ("svd", "ltx-i2v", "wan-i2v", "sdxl", "sd3", "flux", "pixart")
Stage = DiffusersVideo | DiffusersPicture
Load = Callable[[str], Stage]


@pytest.fixture(scope="module")
def load(tmp_path_factory: pytest.TempPathFactory) -> Load:
    root, loaded = tmp_path_factory.mktemp("tiny"), {}

    def once(name: str) -> Stage:
        if name not in loaded:
            folder = write_tiny(name, root)
            loaded[name] = (
                DiffusersVideo.load(folder, CPU, name=name, sizes=(SIZE,))
                if name in VIDEO_PIPELINES
                else DiffusersPicture.load(folder, CPU)
            )
        return loaded[name]

    return once


def begun(stage: Stage, name: str, *seeds: int) -> Any:
    """The work of one order for each seed."""
    if isinstance(stage, DiffusersVideo):
        orders = [replace(ORDER, seed=seed) for seed in seeds]
        return stage.animate(orders, keyframes(name) * len(seeds))
    return stage.paint([replace(PICTURE, seed=seed) for seed in seeds])


def run(work: Any, seen: Callable[[Progress], None] = lambda _: None) -> Any:
    while True:
        try:
            seen(next(work))
        except StopIteration as end:
            return end.value


@contextmanager
def handed_to(vae: Any) -> Iterator[list[torch.Tensor]]:
    """What the pipeline hands to its autoencoder."""
    handed: list[torch.Tensor] = []
    decode = vae.decode

    def listened(z: torch.Tensor, *arguments: Any, **named: Any) -> Any:
        handed.append(z)
        return decode(z, *arguments, **named)

    vae.decode = listened
    try:
        yield handed
    finally:
        vae.decode = decode


def in_frames(handed: list[torch.Tensor], name: str) -> torch.Tensor:
    """(F, C, h, w) of what was handed over in the end."""
    if handed[0].dim() == 4:
        return torch.cat(handed)
    (film,) = handed
    frames = film[0].transpose(0, 1)
    return frames[1:] if name == "ltx-i2v" else frames  # its first one is the keyframe's, and never denoised


@pytest.mark.parametrize("name", [*VIDEO_PIPELINES, *PICTURE_PIPELINES])
def test_the_last_look_sees_what_the_pipeline_decodes_and_changes_nothing(load: Load, name: str) -> None:
    stage = load(name)
    vae = stage._pipeline.vae
    unseen = run(begun(stage, name, 7))
    looks: list[Any] = []
    with handed_to(vae) as handed:

        def see(progress: Progress) -> None:
            assert progress.look is not None
            looks.append(progress.look(0))
            handed.clear()  # what looking decoded itself

        seen = run(begun(stage, name, 7), see)
    assert np.array_equal(np.stack(seen), np.stack(unseen))
    assert len(looks) == (ORDER.steps if name in VIDEO_PIPELINES else PICTURE.steps)

    expected = []
    with torch.no_grad():
        frames = in_frames(handed, name)
        for at in glimpse_of(len(frames)):
            if handed[0].dim() == 4:
                more = {"num_frames": 1} if name == "svd" else {}
                pixels = vae.decode(shrunk(frames[at : at + 1]), **more).sample
            else:  # with the one before it, as far as there is one
                window = shrunk(frames[at - 1 : at + 1] if at else frames[:1])
                pixels = vae.decode(window.transpose(0, 1)[None]).sample[:, :, -1]
            expected.append(((pixels / 2 + 0.5).clamp(0, 1)[0] * 255).permute(1, 2, 0).numpy())
    last = looks[-1]
    assert last.dtype == np.uint8
    assert last.shape == np.stack(expected).shape
    apart = np.abs(last.astype(float) - np.stack(expected)).mean()
    assert apart < (0.5 if name in EXACT else 2.0)  # 0.5: rounded
    assert np.abs(looks[0].astype(float) - np.stack(expected)).mean() > 2 * apart


def test_the_tiny_pipelines_are_all_that_is_in_the_table(load: Load) -> None:
    here = {type(load(name)._pipeline).__name__ for name in (*VIDEO_PIPELINES, *PICTURE_PIPELINES)}
    assert set(LAYOUTS) - here == {"PixArtSigmaPipeline"}  # PixArt-alpha with another text encoder
    assert set(VIDEO_FAMILIES) <= set(LAYOUTS)


@pytest.mark.parametrize("name", ["svd", "sdxl"])
def test_of_several_orders_only_the_one_at_work_is_seen(load: Load, name: str) -> None:
    stage, rows = load(name), []
    alone: list[list[Any]] = []
    for seed in (7, 8):
        mine: list[Any] = []
        run(begun(stage, name, seed), lambda progress, mine=mine: mine.append(progress.look(0)))
        alone.append(mine)
    run(begun(stage, name, 7, 8), lambda progress: rows.append([progress.look(row) for row in (0, 1)]))
    steps = len(alone[0])
    assert len(rows) == 2 * steps
    for step, (first, second) in enumerate(rows):
        at_work, other = (first, second) if step < steps else (second, first)
        assert other is None
        assert np.array_equal(at_work, alone[step // steps][step % steps])


@pytest.mark.parametrize(
    "scheduler",
    [
        EulerDiscreteScheduler,
        EulerAncestralDiscreteScheduler,
        HeunDiscreteScheduler,
        DDPMScheduler,
        DPMSolverMultistepScheduler,
        UniPCMultistepScheduler,
    ],
)
def test_a_folder_may_name_another_scheduler(load: Load, scheduler: Any) -> None:
    stage = load("sdxl")
    pipeline, own = stage._pipeline, stage._pipeline.scheduler
    pipeline.scheduler = scheduler.from_config(own.config)
    looks: list[Any] = []
    try:
        (picture,) = run(begun(stage, "sdxl", 7), lambda progress: looks.append(progress.look(0)))
    finally:
        pipeline.scheduler = own
    first, last = (np.abs(look[0].astype(float) - picture).mean() for look in (looks[0], looks[-1]))
    assert last < 1 < first


def test_a_scheduler_that_is_not_known_shows_nothing_and_paints_all_the_same(load: Load) -> None:
    stage = load("sdxl")
    pipeline, own = stage._pipeline, stage._pipeline.scheduler
    pipeline.scheduler = TCDScheduler.from_config(own.config)
    looks: list[Any] = []
    try:
        run(begun(stage, "sdxl", 7), lambda progress: looks.append(progress.look))
    finally:
        pipeline.scheduler = own
    assert looks == [None] * PICTURE.steps


def test_what_a_pipelines_own_checker_may_withhold_is_not_shown_before_it_has_spoken(load: Load) -> None:
    pipeline = load("sd15")._pipeline
    assert PipelineLook(pipeline).sees
    pipeline.safety_checker = object()
    try:
        assert not PipelineLook(pipeline).sees
    finally:
        pipeline.safety_checker = None


def test_an_autoencoder_that_overflows_in_float16_decodes_in_float32_and_is_itself_again(load: Load) -> None:
    stage = load("sdxl")
    vae, formats = stage._pipeline.vae, []
    weights = {name: each.clone() for name, each in vae.half().state_dict().items()}
    work = begun(stage, "sdxl", 7)
    hook = vae.decoder.register_forward_pre_hook(lambda *_: formats.append(vae.dtype))
    try:
        progress = next(work)
        assert vae.config.force_upcast
        assert progress.look(0).shape == (1, 64, 64, 3)
        assert vae.dtype == torch.float16
        assert all(torch.equal(each, weights[name]) for name, each in vae.state_dict().items())
    finally:
        hook.remove()
        work.close()
        vae.float()
    assert formats == [torch.float32]


def test_packed_latents_are_unpacked_where_nothing_is_averaged_over_it(load: Load) -> None:
    """Of 64 cells a side two by two are shown as one: their order within would not be seen."""
    pipeline = load("flux")._pipeline

    def call() -> Any:
        made = pipeline("a circle", width=32, height=32, num_inference_steps=3, output_type="np")
        return made.images[0] * 255

    looks: list[Any] = []
    picture = run(pipeline_steps(pipeline, call, 3, 32, 32), lambda progress: looks.append(progress.look(0)))
    assert looks[-1].shape == (1, *picture.shape)
    assert np.abs(looks[-1][0] - picture).max() <= 1


class SomebodysPipeline:
    """Of a family that is in no table."""

    def __init__(self, scheduler: Any) -> None:
        self.scheduler = scheduler
        self.progress_bar: Any = None

    def __call__(self) -> str:
        self.progress_bar.update()
        return "made"


def test_a_family_that_is_not_known_has_no_look() -> None:
    pipeline = SomebodysPipeline(DDPMScheduler())
    steps: list[Progress] = []
    assert run(pipeline_steps(pipeline, pipeline, 1, 64, 64), steps.append) == "made"
    assert [(progress.step, progress.look) for progress in steps] == [(1, None)]


def test_the_scheduler_is_its_own_again_behind_a_run_however_it_ends(load: Load) -> None:
    stage = load("sdxl")
    scheduler = stage._pipeline.scheduler
    work = begun(stage, "sdxl", 7)
    progress = next(work)
    assert "step" in vars(scheduler)
    work.close()
    assert "step" not in vars(scheduler)
    assert progress.look(0) is None  # too late: the step's tensors are let go
