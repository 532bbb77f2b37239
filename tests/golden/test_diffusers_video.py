"""Public video pipelines as stages: every row of the table, with diffusers' own classes in miniature."""

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
from PIL import Image
from rig.tiny_films import ORDER, SIZE, TEXT_ONLY, count_calls, film, keyframes, network
from rig.tiny_pipelines import VIDEO_PIPELINES, write_tiny
from rig.tiny_videos import i2vgen_xl

from models.diffusers_video import DiffusersVideo, video_family
from models.errors import BadWeights, NonFiniteLatents, NonFinitePixels
from models.orders import Progress
from models.seeds import PICTURE_STREAM, VIDEO_STREAM, seeded_generator
from models.stepwise import result_of
from models.video_families import VIDEO_FAMILIES, render_spec

CPU = torch.device("cpu")
each_family = pytest.mark.parametrize("family", VIDEO_PIPELINES)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("tiny")
    return {name: write_tiny(name, root) for name in VIDEO_PIPELINES}


Load = Callable[[str], DiffusersVideo]


@pytest.fixture(scope="module")
def load(folders: dict[str, Path]) -> Load:
    loaded: dict[str, DiffusersVideo] = {}

    def once(name: str) -> DiffusersVideo:
        if name not in loaded:
            loaded[name] = DiffusersVideo.load(folders[name], CPU, name=name, sizes=(SIZE,))
        return loaded[name]

    return once


def test_every_row_of_the_table_has_a_pipeline_here(folders: dict[str, Path]) -> None:
    assert {video_family(folder).title for folder in folders.values()} == {
        family.title for family in VIDEO_FAMILIES.values()
    }


@each_family
def test_each_family_renders_what_was_asked_and_tells_every_step(load: Load, family: str) -> None:
    video = load(family)
    work = video.animate([ORDER], keyframes(family))
    assert [next(work) for _ in range(3)] == [Progress(step, 3) for step in (1, 2, 3)]
    frames = list(video.decode(result_of(work)[0]))
    assert [(frame.shape, frame.dtype.name) for frame in frames] == [((64, 64, 3), "uint8")] * 9
    assert np.stack(frames).std() > 0


# I2VGen-XL cannot be called by hand: diffusers asks CLIP for a layer that is gone; see the next test.
@pytest.mark.parametrize("family", [name for name in VIDEO_PIPELINES if name != "i2vgen-xl"])
def test_each_family_is_what_diffusers_makes_of_the_same_call(
    load: Load, folders: dict[str, Path], family: str
) -> None:
    """The adapter adds nothing: diffusers, called by hand with the same arguments, gives the same frames."""
    row = video_family(folders[family])
    plain = diffusers.DiffusionPipeline.from_pretrained(folders[family], use_safetensors=True)
    plain.set_progress_bar_config(disable=True)
    arguments: dict[str, Any] = {row.guidance_name: 3.0}
    if row.reads_text:
        arguments |= {"prompt": "a red circle", "negative_prompt": "blurred"}
    if row.fps_name:
        arguments[row.fps_name] = 8
    if row.decode_chunk:
        arguments["decode_chunk_size"] = row.decode_chunk
    for picture in keyframes(family):
        arguments["image"] = Image.fromarray(picture)
    made = plain(
        width=64,
        height=64,
        num_frames=9,
        num_inference_steps=3,
        generator=seeded_generator(7, VIDEO_STREAM),
        output_type="np",
        **arguments,
    ).frames[0]
    expected = np.asarray(made, np.float32) * 255
    assert np.abs(film(load(family), family) - expected).max() <= 0.51


def test_i2vgen_text_is_the_last_layer_but_one(load: Load) -> None:
    """By hand, from the encoder's own layers: what `clip_skip=1` means."""
    from models.diffusers_video import _text_embeddings

    pipeline: Any = load("i2vgen-xl")._pipeline
    ours = _text_embeddings(pipeline, ORDER)
    encoder = pipeline.text_encoder
    ids = pipeline.tokenizer(["a red circle"], padding="max_length", return_tensors="pt").input_ids
    seen: list[Any] = []
    hook = encoder.encoder.layers[-2].register_forward_hook(lambda _m, _i, out: seen.append(out))
    with torch.inference_mode():
        last = encoder(ids).last_hidden_state
        hook.remove()
        hidden = seen[0][0] if isinstance(seen[0], tuple) else seen[0]
        assert torch.allclose(ours["prompt_embeds"], encoder.final_layer_norm(hidden), atol=1e-6)
    assert not torch.allclose(ours["prompt_embeds"], last, atol=1e-3)
    assert not torch.equal(ours["prompt_embeds"], ours["negative_prompt_embeds"])


@each_family
def test_closing_stops_within_a_step_and_leaves_the_model_well(load: Load, family: str) -> None:
    video = load(family)
    whole = film(video, family)
    calls, hook = count_calls(video)
    try:
        work = video.animate([ORDER], keyframes(family))
        next(work)
        after_one = len(calls)
        assert after_one > 0
        work.close()
        assert len(calls) == after_one  # not one network call more
    finally:
        hook.remove()
    assert [t.name for t in threading.enumerate() if t.name == "pipeline"] == []
    assert np.array_equal(film(video, family), whole)


@each_family
def test_seed_decides_and_nothing_else_does(load: Load, family: str) -> None:
    video = load(family)
    first = film(video, family)
    torch.manual_seed(12345)  # the process's own generator must not matter
    assert np.array_equal(film(video, family), first)
    assert not np.array_equal(film(video, family, seed=8), first)


def test_what_i2vgen_draws_for_the_keyframe_is_not_the_noise_that_the_picture_began_with(load: Load) -> None:
    video, drawn = load("i2vgen-xl"), []
    pipeline: Any = video._pipeline
    first = torch.randn(4, generator=seeded_generator(ORDER.seed, PICTURE_STREAM))
    hook = pipeline.vae.encoder.register_forward_hook(
        lambda *_: drawn.append(torch.get_rng_state().clone())  # as it is when the latents are sampled
    )
    try:
        work = video.animate([ORDER], keyframes("i2vgen-xl"))
        next(work)
        work.close()
    finally:
        hook.remove()
    states = [torch.Generator() for _ in drawn]
    assert states
    for generator, state in zip(states, drawn, strict=True):
        generator.set_state(state)
        assert not torch.equal(torch.randn(4, generator=generator), first)


@pytest.mark.parametrize("family", [name for name in VIDEO_PIPELINES if name != "svd"])
def test_prompt_and_negative_prompt_reach_the_network(load: Load, family: str) -> None:
    video = load(family)
    seen: list[Any] = []

    def look(_module: Any, args: Any, given: dict[str, Any]) -> None:
        seen.append(given["encoder_hidden_states"].clone())

    hook = network(video).register_forward_pre_hook(look, with_kwargs=True)
    try:
        starts = []
        for changes in ({}, {"prompt": "zzz"}, {"negative_prompt": "zzz"}):
            seen.clear()
            film(video, family, **changes)
            starts.append(torch.cat([each.flatten() for each in seen[:2]]))
    finally:
        hook.remove()
    assert not torch.equal(starts[0], starts[1])
    assert not torch.equal(starts[0], starts[2])


@pytest.mark.parametrize("family", [name for name in VIDEO_PIPELINES if name not in TEXT_ONLY])
def test_keyframe_moves_the_video(load: Load, family: str) -> None:
    video = load(family)
    dark = result_of(video.animate([ORDER], keyframes(family, 10)))[0]
    light = result_of(video.animate([ORDER], keyframes(family, 240)))[0]
    assert not torch.equal(dark, light)


def test_orders_of_one_call_are_what_each_is_alone(load: Load) -> None:
    video = load("ltx-i2v")
    orders = [ORDER, replace(ORDER, seed=8)]
    work = video.animate(orders, keyframes("ltx-i2v") * 2)
    both = result_of(work)
    assert [np.array_equal(both[n].numpy(), film(video, "ltx-i2v", seed=7 + n)) for n in (0, 1)] == [True] * 2


def test_gamma_moves_i2vgen_and_zero_is_the_plain_start(load: Load) -> None:
    video = load("i2vgen-xl")
    assert video.spec.abilities.noise_prior
    assert video.spec.noise_prior_gamma == 0.0
    starts: list[Any] = []
    hook = network(video).register_forward_pre_hook(lambda _m, args: starts.append(args[0].clone()))
    try:
        for gamma in (0.0, 0.05):
            work = video.animate([replace(ORDER, gamma=gamma)], keyframes("i2vgen-xl"))
            next(work)
            work.close()
    finally:
        hook.remove()
    pipeline: Any = video._pipeline
    x = torch.from_numpy(keyframes("i2vgen-xl")[0]).permute(2, 0, 1)[None].float() / 127.5 - 1
    with torch.inference_mode():
        z_c = pipeline.vae.encode(x).latent_dist.mode() * pipeline.vae.config.scaling_factor
    moved = (starts[1] - starts[0])[:1]  # (1, C, F, h, w); init_noise_sigma is 1 for DDIM
    assert torch.allclose(moved, 0.05 * z_c[:, :, None].expand_as(moved), atol=1e-6)


def test_no_prior_where_the_model_does_not_predict_noise(tmp_path: Path) -> None:
    folder = write_tiny("velocity", tmp_path, make=lambda: i2vgen_xl("v_prediction"))
    assert not DiffusersVideo.load(folder, CPU, name="velocity").spec.abilities.noise_prior


@pytest.mark.parametrize("family", [name for name in VIDEO_PIPELINES if name != "i2vgen-xl"])
def test_no_prior_in_other_layouts_or_without_a_keyframe(load: Load, family: str) -> None:
    assert not load(family).spec.abilities.noise_prior


@pytest.mark.parametrize("family", VIDEO_PIPELINES)
def test_frames_that_are_not_finite_are_refused(folders: dict[str, Path], family: str) -> None:
    """Every one of these pipelines clamps infinity to black and white: it is caught before."""
    video = DiffusersVideo.load(folders[family], CPU, name="broken", sizes=(SIZE,))
    order, pictures = replace(ORDER, steps=2), [] if family in TEXT_ONLY else keyframes(family)
    last = last_layer(video._pipeline.vae.decoder)
    with torch.no_grad():
        last.bias.fill_(float("inf"))
    with pytest.raises(NonFinitePixels, match=r"the autoencoder made pixels .* that are not finite"):
        result_of(video.animate([order], pictures))
    with torch.no_grad():
        last.bias.zero_()
        for weight in last_layer(network(video)).parameters():
            weight.fill_(float("nan"))
    with pytest.raises(NonFiniteLatents, match="are not finite behind the last step"):
        result_of(video.animate([order], pictures))


def last_layer(network: Any) -> Any:
    """The module whose weights are the last in the network, which are those of its output."""
    return [each for each in network.modules() if getattr(each, "bias", None) is not None][-1]


def test_an_error_inside_the_pipeline_comes_through(load: Load) -> None:
    def break_it(*_: Any) -> None:
        raise torch.OutOfMemoryError("made up")

    video = load("wan-i2v")
    hook = network(video).register_forward_pre_hook(break_it)
    try:
        with pytest.raises(torch.OutOfMemoryError, match="made up"):
            result_of(video.animate([ORDER], keyframes("wan-i2v")))
    finally:
        hook.remove()


@each_family
def test_frame_rule_is_what_the_network_can_make(load: Load, family: str) -> None:
    """The shortest and the next length come out exactly as long as asked."""
    video, rule = load(family), load(family).spec.frames
    for count in (rule.minimum, rule.minimum + rule.step):
        assert rule.allows(count)
        assert len(film(video, family, num_frames=count, steps=2)) == count


def test_sizes_are_the_familys_or_multiples_of_its_stride(folders: dict[str, Path]) -> None:
    row = VIDEO_FAMILIES["LTXImageToVideoPipeline"]
    assert render_spec(row, "ltx").sizes == row.sizes
    for each in VIDEO_FAMILIES.values():
        assert render_spec(each, "any", sizes=each.sizes).sizes == each.sizes
    with pytest.raises(ValueError, match="size 64x40: both sides must be multiples of 32 for LTX-Video"):
        DiffusersVideo.load(folders["ltx-i2v"], CPU, name="ltx", sizes=((64, 40),))


def test_an_unknown_pipeline_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text('{"_class_name": "AllegroPipeline"}')
    with pytest.raises(BadWeights, match=r"AllegroPipeline is not .* known are I2VGenXLPipeline, Stable"):
        DiffusersVideo.load(tmp_path, CPU, name="any")
    (tmp_path / "model_index.json").write_text('{"_class_name": ["file", "Mine"]}')
    with pytest.raises(BadWeights, match="does not name a pipeline"):
        DiffusersVideo.load(tmp_path, CPU, name="any")
    with pytest.raises(BadWeights, match=r"model_index\.json is missing"):
        DiffusersVideo.load(tmp_path / "nothing", CPU, name="any")
