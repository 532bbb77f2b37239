"""Stage 1 by any text-to-image folder: each family in miniature, alone and before MicroCinema's stage 2."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from rig.tiny_parts import picture_processor
from rig.tiny_pictures import stable_diffusion
from rig.tiny_pipelines import PICTURE_PIPELINES, write_tiny
from transformers import CLIPConfig

from models.cinema import Cinema
from models.diffusers_picture import DiffusersPicture, check_drivable, reads_negative_prompt
from models.errors import BadWeights, NonFiniteLatents, NonFinitePixels, PictureWithheld
from models.nano import write_nano
from models.orders import PictureOrder, Progress, VideoOrder
from models.seeds import PICTURE_STREAM, seeded_generator
from models.stages import Stages, with_painter
from models.stepwise import result_of
from models.thrift import Thrift

CPU = torch.device("cpu")
ORDER = PictureOrder(
    prompt="a red circle", negative_prompt="", seed=7, steps=4, guidance_scale=3.0, width=64, height=64
)
each_family = pytest.mark.parametrize("family", PICTURE_PIPELINES)
Load = Callable[[str], DiffusersPicture]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("tiny")
    return {name: write_tiny(name, root) for name in PICTURE_PIPELINES}


@pytest.fixture(scope="module")
def load(folders: dict[str, Path]) -> Load:
    loaded: dict[str, DiffusersPicture] = {}

    def once(name: str) -> DiffusersPicture:
        if name not in loaded:
            loaded[name] = DiffusersPicture.load(folders[name], CPU)
        return loaded[name]

    return once


def painted(painter: DiffusersPicture, **changes: Any) -> Any:
    return result_of(painter.paint([replace(ORDER, **changes)]))[0]


def network(painter: DiffusersPicture) -> Any:
    pipeline: Any = painter._pipeline
    return getattr(pipeline, "transformer", None) or pipeline.unet


@each_family
def test_each_family_paints_what_was_asked_and_tells_every_step(load: Load, family: str) -> None:
    work = load(family).paint([ORDER])
    assert [next(work) for _ in range(4)] == [Progress(step, 4) for step in (1, 2, 3, 4)]
    picture = result_of(work)[0]
    assert (picture.shape, picture.dtype.name) == ((64, 64, 3), "uint8")
    assert picture.std() > 0


@each_family
def test_each_family_is_what_diffusers_paints(load: Load, folders: dict[str, Path], family: str) -> None:
    plain = diffusers.AutoPipelineForText2Image.from_pretrained(folders[family], use_safetensors=True)
    plain.set_progress_bar_config(disable=True)
    side = 128 if family == "flux" else 64  # no smaller than the model's own size: painted as it is
    more: dict[str, Any] = {} if family == "flux" else {"negative_prompt": ""}
    more |= {"use_resolution_binning": False} if family == "pixart" else {}
    made = plain(
        prompt="a red circle",
        width=side,
        height=side,
        num_inference_steps=4,
        guidance_scale=3.0,
        generator=seeded_generator(7, PICTURE_STREAM),
        output_type="np",
        **more,
    ).images[0]
    assert (
        np.abs(painted(load(family), width=side, height=side) - np.asarray(made, np.float32) * 255).max()
        <= 0.51
    )


@each_family
def test_closing_stops_within_a_step_and_leaves_the_model_well(load: Load, family: str) -> None:
    painter = load(family)
    whole = painted(painter)
    calls: list[int] = []
    hook = network(painter).register_forward_pre_hook(lambda *_: calls.append(1))
    try:
        work = painter.paint([ORDER])
        next(work)
        after_one = len(calls)
        assert after_one > 0
        work.close()
        assert len(calls) == after_one
    finally:
        hook.remove()
    assert [t.name for t in threading.enumerate() if t.name == "pipeline"] == []
    assert np.array_equal(painted(painter), whole)


@each_family
def test_seed_prompts_and_size_decide(load: Load, family: str) -> None:
    painter = load(family)
    first = painted(painter, steps=2)
    torch.manual_seed(4321)
    assert np.array_equal(painted(painter, steps=2), first)
    assert not np.array_equal(painted(painter, steps=2, seed=8), first)
    assert painter.negative_prompt is (family != "flux")
    assert painted(painter, steps=2, width=96, height=64).shape == (64, 96, 3)


@pytest.mark.parametrize("family", [name for name in PICTURE_PIPELINES if name != "flux"])
def test_negative_prompt_reaches_the_network(load: Load, family: str) -> None:
    painter, seen = load(family), []

    def look(_module: Any, _args: Any, given: dict[str, Any]) -> None:
        seen.append(given["encoder_hidden_states"].clone())

    hook = network(painter).register_forward_pre_hook(look, with_kwargs=True)
    try:
        for words in ("", "blurred"):
            work = painter.paint([replace(ORDER, negative_prompt=words)])
            next(work)
            work.close()
    finally:
        hook.remove()
    half = len(seen) // 2
    assert not torch.equal(seen[0], seen[half])


def test_a_picture_below_the_models_own_size_is_painted_there_and_shrunk(load: Load) -> None:
    painter = load("sd15")  # its own size is 8 cells of 4 pixels: 32x32
    latents: list[tuple[int, ...]] = []
    hook = network(painter).register_forward_pre_hook(lambda _m, args: latents.append(tuple(args[0].shape)))
    try:
        picture = painted(painter, width=16, height=16)
    finally:
        hook.remove()
    assert picture.shape == (16, 16, 3)
    assert latents[0][-2:] == (8, 8)


def test_defaults_are_the_pipelines_own(load: Load) -> None:
    defaults = {name: (load(name).steps, load(name).guidance_scale) for name in PICTURE_PIPELINES}
    assert defaults == {
        "sd15": (50, 7.5),
        "sd21": (50, 7.5),
        "sdxl": (50, 5.0),
        "sd3": (28, 7.0),
        "flux": (28, 3.5),
        "pixart": (20, 4.5),
    }


def test_pictures_of_one_call_are_what_each_is_alone(load: Load) -> None:
    painter = load("sdxl")
    both = result_of(painter.paint([ORDER, replace(ORDER, seed=8)]))
    assert np.array_equal(both[0], painted(painter))
    assert np.array_equal(both[1], painted(painter, seed=8))


@pytest.mark.parametrize("family", ["sd21", "sdxl", "sd3", "flux"])
def test_a_picture_that_is_not_finite_is_refused(folders: dict[str, Path], family: str) -> None:
    """SD's and SDXL's pipelines clamp infinity to black and white: it is caught before."""
    painter = DiffusersPicture.load(folders[family], CPU)
    with torch.no_grad():
        painter._pipeline.vae.decoder.conv_out.bias.fill_(float("inf"))
    with pytest.raises(NonFinitePixels, match=r"made pixels .* that are not finite in torch\.float32"):
        painted(painter)
    with torch.no_grad():
        for weight in network(painter).parameters():
            weight.fill_(float("nan"))
    with pytest.raises(NonFiniteLatents, match=r"latents \(1, 4, \d+, \d+\) are not finite behind the last"):
        painted(painter)


def strict_checker() -> Any:
    """diffusers' own safety checker with thresholds that every picture passes: it withholds them all."""
    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = CLIPConfig(projection_dim=16, vision_config=vision | {"image_size": 32, "patch_size": 8})
    checker = StableDiffusionSafetyChecker(config).eval()
    checker.concept_embeds_weights.data.fill_(-2.0)
    return checker


def test_a_withheld_picture_is_an_error_and_not_a_black_one() -> None:
    plain = stable_diffusion()
    strict = diffusers.StableDiffusionPipeline(
        **{name: part for name, part in plain.components.items() if part is not None},
        safety_checker=strict_checker(),
        feature_extractor=picture_processor(32),
        image_encoder=None,
    )
    with pytest.raises(PictureWithheld, match="safety checker"):
        painted(DiffusersPicture(strict, "hash"))


def test_folders_that_are_no_picture_models_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadWeights, match="AutoPipeline can't find a pipeline"):
        DiffusersPicture.load(write_tiny("modelscope", tmp_path), CPU)
    with pytest.raises(BadWeights, match=r"model_index\.json is missing"):
        DiffusersPicture.load(tmp_path / "nothing", CPU)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("KandinskyV22CombinedPipeline", "hides its steps"),
        ("WuerstchenCombinedPipeline", "hides its steps"),
        ("StableCascadeCombinedPipeline", "hides its steps"),
        ("QwenImagePipeline", "no single guidance_scale"),
        ("StableDiffusionUpscalePipeline", "takes no width"),
    ],
)
def test_pipelines_that_cannot_be_driven_step_by_step_are_refused(name: str, says: str) -> None:
    with pytest.raises(BadWeights, match=f"{name} .*{says}"):
        check_drivable(getattr(diffusers, name))


def test_flux_can_be_driven_but_ignores_a_negative_prompt() -> None:
    check_drivable(diffusers.FluxPipeline)
    assert not reads_negative_prompt(diffusers.FluxPipeline)
    assert reads_negative_prompt(diffusers.StableDiffusion3Pipeline)


# -- in front of MicroCinema's stage 2 -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def cinema(tmp_path_factory: pytest.TempPathFactory) -> Cinema:
    folder = tmp_path_factory.mktemp("nano")
    write_nano(folder)
    return Cinema.load(folder, device="cpu")


@each_family
def test_microcinema_animates_what_any_of_them_paints(load: Load, cinema: Cinema, family: str) -> None:
    painter = load(family)
    spec = with_painter(cinema.spec, painter)
    both = Stages(spec, painter, cinema)
    assert (spec.picture_steps, spec.picture_guidance) == (painter.steps, painter.guidance_scale)
    assert both.weight_hash not in (painter.weight_hash, cinema.weight_hash)
    keyframes = result_of(both.paint([replace(ORDER, width=32, height=32)]))
    assert np.array_equal(keyframes[0], painted(painter, width=32, height=32))
    video = VideoOrder("a red circle", "", 7, 2, 2.0, 0.02, 4, 32, 32)
    latents = result_of(both.animate([video], keyframes))
    assert torch.equal(latents, result_of(cinema.animate([video], keyframes)))
    assert np.stack(list(both.decode(latents[0]))).shape == (4, 32, 32, 3)


def test_a_sparing_model_rests_its_painter_and_wakes_it_again(load: Load, cinema: Cinema) -> None:
    painter = load("sd15")
    both = Stages(with_painter(cinema.spec, painter), painter, cinema)
    first = result_of(both.paint([replace(ORDER, width=32, height=32)]))
    both.economise(Thrift(park_idle=True))
    video = VideoOrder("a red circle", "", 7, 2, 2.0, 0.02, 4, 32, 32)
    result_of(both.animate([video], first))
    assert np.array_equal(result_of(both.paint([replace(ORDER, width=32, height=32)]))[0], first[0])


def test_warm_up_runs_both(load: Load, cinema: Cinema) -> None:
    painter = load("sd15")
    calls: list[int] = []
    hook = network(painter).register_forward_pre_hook(lambda *_: calls.append(1))
    try:
        Stages(with_painter(cinema.spec, painter), painter, cinema).warm_up()
    finally:
        hook.remove()
    assert calls


def test_a_new_name_alone_is_not_new_weights(cinema: Cinema) -> None:
    renamed = Stages(replace(cinema.spec, name="other"), cinema, cinema)
    assert renamed.weight_hash == cinema.weight_hash
    assert renamed.spec.name == "other"
