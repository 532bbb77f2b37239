"""Counted memory against memory that was really taken, and what the count is made of."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import diffusers
import pytest
import torch
from rig.allocated import allocated_peak
from rig.tiny_pipelines import write_tiny
from torch import nn

from models.cinema import MICRO_WEIGHTS
from models.denoiser import VideoDenoiser
from models.errors import BadWeights
from models.manifest import read_json
from models.memory import count_activations, model_need, picture_model_need, stored_weights
from models.nano import write_nano
from models.spec import NANO
from models.tensor_peak import tensor_peak
from models.weights import Parts, load_parts, read_spec

CPU, F16, F32 = torch.device("cpu"), torch.float16, torch.float32
TOLERANCE = 0.15  # of what the allocator handed out; scratch inside kernels is what the count cannot see


@pytest.fixture(scope="module")
def nano(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("nano")
    write_nano(path)
    return path


def allocated(parts: Parts, frames: int, batch: int = 1) -> tuple[int, int, int]:
    """(denoise, encode, decode) of the loaded networks on this CPU, at the spec's largest size."""
    spec = parts.spec
    (width, height), (c, h, w) = spec.sizes[0], spec.latent_shape(*spec.sizes[0])
    denoiser = VideoDenoiser(parts.main, parts.appearnet)
    z, z_c, t = (
        torch.randn(2 * batch, frames, c, h, w),
        torch.randn(2 * batch, c, h, w),
        torch.ones(2 * batch),
    )
    text = torch.randn(2 * batch, 77, spec.unet.text_width)
    picture, latent = torch.randn(1, 3, height, width), torch.randn(1, c, h, w)

    def encode() -> object:
        return parts.vae.encode(picture).latent_dist.mode()

    def decode() -> object:
        return parts.vae.decode(latent).sample.float()

    with torch.inference_mode():
        denoise = allocated_peak(lambda: denoiser(z, z_c, t, text))
        return denoise, allocated_peak(encode), allocated_peak(decode)


def test_counted_peaks_are_the_allocators_own() -> None:
    counted = model_need(MICRO_WEIGHTS, CPU, "micro").activations
    assert counted is not None
    seen = allocated(load_parts(MICRO_WEIGHTS, CPU, F32), counted.frames)
    assert (counted.denoise, counted.encode, counted.decode) == pytest.approx(seen, rel=TOLERANCE)
    assert counted.denoise == pytest.approx(seen[0], rel=0.02)  # the peak that decides


@pytest.mark.parametrize("frames", [2, 8])
def test_the_denoisers_peak_is_exact_at_other_lengths(nano: Path, frames: int) -> None:
    config = read_json(nano / "vae" / "config.json")
    counted = count_activations(NANO, config, F32, F32, frames=frames).denoise
    assert counted == pytest.approx(allocated(load_parts(nano, CPU, F32), frames)[0], rel=0.02)


def test_a_batch_takes_in_proportion(nano: Path) -> None:
    parts = load_parts(nano, CPU, F32)
    one, three = allocated(parts, 8)[0], allocated(parts, 8, batch=3)[0]
    assert three == pytest.approx(3 * one, rel=0.02)


def test_weights_are_counted_as_they_will_lie_in_memory(nano: Path) -> None:
    parts = load_parts(nano, CPU, F32)
    networks: dict[str, nn.Module] = {"unet": parts.unet, "vae": parts.vae, "appearnet": parts.appearnet}
    counted = model_need(nano, CPU, "nano").weights
    for name, network in networks.items():
        assert counted[name] == sum(weight.nbytes for weight in network.parameters())
    main = sum(weight.nbytes for weight in parts.main.parameters())
    assert counted["unet"] + counted["temporal"] == main
    halves = stored_weights(nano, lambda _: F16)
    assert {name: 2 * size for name, size in halves.items()} == counted


def test_a_twin_in_half_precision_or_without_average_is_not_counted(nano: Path, tmp_path: Path) -> None:
    shutil.copytree(nano / "vae", tmp_path / "vae")
    before = stored_weights(tmp_path, lambda _: F32)
    file = tmp_path / "vae" / "diffusion_pytorch_model.safetensors"
    twin = file.with_name("diffusion_pytorch_model.fp16.safetensors")
    shutil.copy(file, twin)
    shutil.copy(file, file.with_name("diffusion_pytorch_model.non_ema.safetensors"))
    assert stored_weights(tmp_path, lambda _: F32) == before
    file.unlink()
    assert stored_weights(tmp_path, lambda _: F32) == before


def test_another_pipelines_folder_is_known_by_its_weights_only(nano: Path, tmp_path: Path) -> None:
    shutil.copytree(nano / "unet", tmp_path / "unet")
    shutil.copy(nano / "model_index.json", tmp_path)
    assert not (tmp_path / "cinema.json").exists()
    need = model_need(tmp_path, CPU, "foreign")
    assert need.activations is None
    assert need.weight_bytes == model_need(nano, CPU, "nano").weights["unet"] > 0


@pytest.mark.parametrize("family", ["sd15", "pixart", "flux"])
def test_a_picture_model_is_counted_by_a_picture_of_its_own_size(tmp_path: Path, family: str) -> None:
    folder = write_tiny(family, tmp_path)
    need = picture_model_need(folder, CPU)
    vae = diffusers.AutoencoderKL.from_pretrained(folder / "vae")
    network = read_json(folder / ("unet" if family == "sd15" else "transformer") / "config.json")
    side = network.get("sample_size", 128)  # Flux says none, its pipeline takes 128
    latent = torch.zeros(1, vae.config.latent_channels, side, side)

    def decode() -> object:
        return vae.decode(latent).sample.float()

    with torch.inference_mode():
        seen = allocated_peak(decode)
    assert 0.3 * seen < need.paint <= 1.02 * seen  # so small a decoder is half scratch
    listed = read_json(folder / "model_index.json")
    assert set(need.weights) <= set(listed)
    (folder / "vae_old").mkdir()
    shutil.copy(folder / "vae" / "diffusion_pytorch_model.safetensors", folder / "vae_old")
    assert picture_model_need(folder, CPU).weights == need.weights  # not in the index, not loaded
    index = folder / "model_index.json"
    index.write_text(json.dumps(listed | {"vae_old": [None, None]}))
    assert picture_model_need(folder, CPU).weights == need.weights  # left out by the index


@pytest.mark.parametrize("damage", ["weights", "autoencoder", "spec"])
def test_a_damaged_folder_is_named_and_not_a_crash(nano: Path, tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "damaged"
    shutil.copytree(nano, folder)
    if damage == "weights":
        (folder / "appearnet" / "diffusion_pytorch_model.safetensors").write_bytes(b"not tensors")
    elif damage == "autoencoder":
        (folder / "vae" / "config.json").write_text('{"block_out_channels": [7], "norm_num_groups": 4}')
    else:
        (folder / "cinema.json").write_text('{"name": "x"}')
    with pytest.raises(BadWeights, match="damaged"):
        model_need(folder, CPU)


def test_the_largest_size_and_length_are_counted_unless_others_are_named(nano: Path) -> None:
    config = read_json(nano / "vae" / "config.json")
    assert read_spec(nano) == NANO
    whole = count_activations(NANO, config, F32, F32)
    assert (whole.width, whole.height, whole.frames) == (32, 32, 8)
    half = count_activations(NANO, config, F32, F32, frames=4)
    assert half.denoise == pytest.approx(whole.denoise / 2, rel=0.02)
    assert (half.encode, half.decode) == (whole.encode, whole.decode)
    in_half_precision = count_activations(NANO, config, F16, F32)
    assert in_half_precision.denoise < 0.6 * whole.denoise
    assert in_half_precision.decode == whole.decode


def test_peak_is_of_what_lives_together_and_ends_with_the_run() -> None:
    def chain() -> torch.Tensor:
        x = torch.zeros(1000)
        for _ in range(5):
            x = x + 1  # the one before is released: two at a time
        return x

    def heap() -> list[torch.Tensor]:
        return [torch.zeros(1000) for _ in range(5)]

    before = torch.zeros(10_000)
    assert tensor_peak(chain) == 2 * 4000
    assert tensor_peak(heap) == 5 * 4000
    assert tensor_peak(lambda: before[:5].view(5)) == 0  # views, and what was there already
