"""Both stages through the real folder layout: loading, sharing, seeds, batches, and diffusers as oracle."""

from __future__ import annotations

import json
import shutil
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file

from models.cinema import MICRO_WEIGHTS, Cinema, frame_digest
from models.errors import BadWeights, NonFiniteLatents
from models.nano import write_nano
from models.orders import PictureOrder, VideoOrder
from models.precision import network_dtype
from models.seeds import PICTURE_STREAM, seeded_noise
from models.spec import NANO
from models.stepwise import result_of
from models.weights import load_parts, read_spec, write_manifest

STORED = [-2.4206, -31.1596, 3.7721, 0.4485]
PICTURE = PictureOrder("a red circle", "", 3, 2, 2.0, 32, 32)
VIDEO = VideoOrder("a red circle", "", 3, 3, 2.0, 0.02, 4, 32, 32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("nano")
    write_nano(path)
    return path


@pytest.fixture(scope="module")
def cinema(folder: Path) -> Cinema:
    return Cinema.load(folder, device="cpu")


def finish(work: Generator[Any, None, Any]) -> tuple[list[Any], Any]:
    steps = []
    while True:
        try:
            steps.append(next(work))
        except StopIteration as end:
            return steps, end.value


def keyframe(value: int = 0) -> np.ndarray:
    return np.random.default_rng(value).integers(0, 256, (32, 32, 3), dtype=np.uint8)


def test_same_seed_same_frames_and_another_seed_other_frames(cinema: Cinema) -> None:
    film = cinema("a red circle", 3)
    assert film.frames.shape == (4, 32, 32, 3)
    assert film.frames.dtype == np.uint8
    assert film.digest == cinema("a red circle", 3).digest == frame_digest(film.frames)
    assert len({film.digest, cinema("a red circle", 4).digest, cinema("a blue square", 3).digest}) == 3


def test_a_call_names_what_it_cannot_take(cinema: Cinema) -> None:
    with pytest.raises(ValueError, match=r"keyframe must be uint8 \(32, 32, 3\), got uint8 \(16, 32, 3\)"):
        cinema("a red circle", 3, keyframe=keyframe()[:16])
    with pytest.raises(ValueError, match=r"keyframe must be uint8 .*, got float64 \(32, 32, 3\)"):
        cinema("a red circle", 3, keyframe=keyframe() / 255)
    with pytest.raises(ValueError, match=r"sampler 'euler' must be one of dpm\+\+2m, ddim"):
        cinema("a red circle", 3, sampler="euler")


def test_every_stage_yields_each_finished_step(cinema: Cinema) -> None:
    steps, pictures = finish(cinema.paint([PICTURE]))
    assert [(s.step, s.steps) for s in steps] == [(1, 2), (2, 2)]
    steps, latents = finish(cinema.animate([VIDEO], pictures))
    assert [s.step for s in steps] == [1, 2, 3]
    assert latents.shape == (1, 4, 4, 8, 8)
    assert latents.dtype is torch.float32


@pytest.mark.parametrize("guidance", [(1.0, 1.0, 1.0), (2.0, 7.5, 1.1)])
def test_a_sample_does_not_depend_on_its_batch_mates(cinema: Cinema, guidance: tuple[float, ...]) -> None:
    samples = [(1, "one", 0.0), (2, "two", 0.02), (3, "three words here", 0.05)]
    orders = [
        replace(VIDEO, seed=s, prompt=p, gamma=g, guidance_scale=scale)
        for (s, p, g), scale in zip(samples, guidance, strict=True)
    ]
    keyframes = [keyframe(i) for i in range(3)]
    _, together = finish(cinema.animate(orders, keyframes))
    for i, order in enumerate(orders):
        _, alone = finish(cinema.animate([order], [keyframes[i]]))
        # in units of the latents' own spread: random weights leave them far from unit variance
        assert (together[i] - alone[0]).abs().max() / alone.std() <= 1e-5
    assert (together[0] - together[1]).abs().max() > 0.1


def test_a_picture_read_back_from_a_file_is_the_painted_one_to_the_bit() -> None:
    shipped = Cinema.load(MICRO_WEIGHTS, device="cpu")
    painted = result_of(shipped.paint([PictureOrder("a red circle", "", 7, 2, 2.0, 64, 64)]))[0]
    read_back = np.ascontiguousarray(painted)
    assert read_back.strides != painted.strides
    codec = shipped._stage_two._codec
    assert torch.equal(codec.encode([painted]), codec.encode([read_back]))


def test_gamma_zero_is_the_plain_start_and_gamma_moves_the_result(cinema: Cinema) -> None:
    _, plain = finish(cinema.animate([replace(VIDEO, gamma=0.0)], [keyframe()]))
    _, prior = finish(cinema.animate([replace(VIDEO, gamma=0.05)], [keyframe()]))
    _, again = finish(cinema.animate([replace(VIDEO, gamma=0.0)], [keyframe()]))
    assert torch.equal(plain, again)
    assert not torch.equal(plain, prior)


def test_ends_with_an_error_instead_of_a_black_video(folder: Path) -> None:
    broken = Cinema.load(folder, device="cpu")
    with torch.no_grad():
        broken._stage_two._denoiser.main.conv_out.bias.fill_(float("nan"))
    with pytest.raises(NonFiniteLatents, match="4 frames at 32x32 are not finite after 3 steps"):
        finish(broken.animate([VIDEO], [keyframe()]))


def test_spatial_weights_are_in_memory_once(folder: Path) -> None:
    parts = load_parts(folder, torch.device("cpu"), torch.float32)
    flat = parts.unet.state_dict()
    inflated = parts.main.state_dict()
    assert all(inflated[name].data_ptr() == value.data_ptr() for name, value in flat.items())


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"maximum": 3}, "frames default 4 must be one of 2 to 3 in steps of 1"),
        ({"step": 4}, "frames default 4 must be one of 2 to 8 in steps of 4"),
        ({"minimum": 0}, "frames minimum 0 and step 1 must both be at least 1"),
    ],
)
def test_a_frame_rule_that_contradicts_itself_is_named(
    folder: Path, tmp_path: Path, change: dict[str, int], says: str
) -> None:
    raw = json.loads((folder / "cinema.json").read_text())
    raw["frames"] |= change  # as an operator does who wants shorter videos, or smaller memory
    (tmp_path / "cinema.json").write_text(json.dumps(raw))
    with pytest.raises(BadWeights, match=f"cinema.json is not the spec of a model: {says}"):
        read_spec(tmp_path)


def test_spec_survives_the_folder(folder: Path) -> None:
    assert read_spec(folder) == NANO


def test_altered_missing_or_foreign_weights_are_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(BadWeights, match=r"manifest\.json is missing"):
        Cinema.load(tmp_path, device="cpu")
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    spec = copy / "cinema.json"
    spec.write_text(json.dumps(json.loads(spec.read_text()) | {"name": "other"}))
    with pytest.raises(BadWeights, match=r"cinema\.json is not the file"):
        Cinema.load(copy, device="cpu")
    (copy / "appearnet" / "diffusion_pytorch_model.safetensors").unlink()
    spec.write_text((folder / "cinema.json").read_text())
    with pytest.raises(BadWeights, match=r"appearnet/diffusion_pytorch_model\.safetensors is in"):
        Cinema.load(copy, device="cpu")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"prediction_type": "v_prediction"},
            "prediction_type 'v_prediction' is not supported, only 'epsilon'",
        ),
        ({"beta_schedule": "linear"}, "beta_schedule 'linear' is not supported, only 'scaled_linear'"),
        ({"beta_start": None}, "has no 'beta_start'"),
    ],
)
def test_a_foreign_schedule_is_refused(
    folder: Path, tmp_path: Path, change: dict[str, Any], sentence: str
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    path = copy / "scheduler" / "scheduler_config.json"
    config = json.loads(path.read_text()) | change
    path.write_text(json.dumps({name: value for name, value in config.items() if value is not None}))
    write_manifest(copy)
    with pytest.raises(BadWeights, match=sentence):
        Cinema.load(copy, device="cpu")


def test_guidance_keeps_the_keyframe_in_both_branches(cinema: Cinema) -> None:
    """At scale 0 only the unconditional branch speaks: it still follows the keyframe, and not the prompt."""
    order = replace(VIDEO, guidance_scale=0.0)
    _, one = finish(cinema.animate([order], [keyframe(0)]))
    _, other_picture = finish(cinema.animate([order], [keyframe(1)]))
    _, other_words = finish(cinema.animate([replace(order, prompt="something else")], [keyframe(0)]))
    assert (one - other_picture).abs().max() > 1e-3
    assert torch.allclose(one, other_words, atol=1e-5 * float(one.std()))


def test_stored_numbers_of_the_seeded_model(cinema: Cinema) -> None:
    """What these weights and this seed gave when the test was written (rtol 1e-4: CPUs differ)."""
    _, latents = finish(cinema.animate([VIDEO], [keyframe()]))
    assert [round(float(x), 4) for x in latents[0, :, 0, 3, 4]] == pytest.approx(STORED, rel=1e-4, abs=1e-3)


def test_the_shipped_model_has_at_most_eight_million_parameters() -> None:
    tensors = [load_file(path) for path in sorted(MICRO_WEIGHTS.rglob("*.safetensors"))]
    assert len(tensors) == 5  # unet, vae, text encoder, temporal, appearnet: spatial weights stored once
    assert sum(value.numel() for each in tensors for value in each.values()) <= 8_000_000
    assert sum(path.stat().st_size for path in MICRO_WEIGHTS.rglob("*")) <= 16 * 2**20


@pytest.mark.parametrize("weights", ["nano", "micro"])
def test_stage_one_paints_what_diffusers_paints(folder: Path, weights: str) -> None:
    path = folder if weights == "nano" else MICRO_WEIGHTS
    cinema = Cinema.load(path, device="cpu")
    spec = cinema.spec
    width, height = spec.sizes[0]
    order = PictureOrder("a red circle moving left on a white background", "", 11, 5, 4.0, width, height)
    z = seeded_noise([order.seed], spec.latent_shape(width, height), PICTURE_STREAM)
    _, (ours,) = finish(cinema.paint([order]))
    pipeline = StableDiffusionPipeline.from_pretrained(path, torch_dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    theirs = pipeline(
        order.prompt,
        width=width,
        height=height,
        num_inference_steps=order.steps,
        guidance_scale=order.guidance_scale,
        latents=z,
        output_type="np",
    ).images[0]
    difference = np.abs(ours.astype(float) - theirs * 255)
    assert difference.max() <= 1.0  # half a level of rounding, and float noise around it
    assert np.ptp(theirs) > 0.1


def test_cpu_networks_run_in_float32() -> None:
    assert network_dtype(torch.device("cpu")) is torch.float32
    assert network_dtype(torch.device("cuda")) is torch.float16


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device: fp16 rendering was not tried")
def test_renders_on_cuda_in_fp16(folder: Path) -> None:
    film = Cinema.load(folder, device="cuda")("a red circle", 3)
    assert film.frames.shape == (4, 32, 32, 3)
