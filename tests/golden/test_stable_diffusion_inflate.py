"""From Stable Diffusion weights to a folder that serves and trains; saving and loading a whole model."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline
from rig.stable_diffusion import pipeline, single_file, small_family
from safetensors.torch import load_file

from models.cinema import Cinema
from models.denoiser import VideoDenoiser
from models.errors import BadWeights
from models.inflate import Source, inflate_to_folder, main
from models.manifest import check_manifest, write_manifest
from models.nano import flat_unet, write_nano
from models.noise_prior import with_appearance
from models.spec import NANO
from models.tensors import SHARD_BYTES
from models.unet import is_added
from models.weights import Parts, load_parts, save_parts

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def inflated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sd21")
    family = small_family("microcinema-sd21")
    pipeline(family).save_pretrained(folder / "picture")
    inflate_to_folder(
        Source(folder / "picture"), family, folder / "model", torch.float16, shard_bytes=1_000_000
    )
    return folder / "model"


def every_tensor(parts: Parts) -> dict[str, torch.Tensor]:
    networks = {
        "main": parts.main,
        "appearnet": parts.appearnet,
        "vae": parts.vae,
        "text": parts.text_encoder,
    }
    return {f"{name}.{k}": v for name, net in networks.items() for k, v in net.state_dict().items()}


def test_an_inflated_folder_serves_and_says_that_it_is_untrained(inflated: Path) -> None:
    cinema = Cinema.load(inflated, device="cpu")
    assert "untrained" in cinema.spec.description
    film = cinema("a red circle", 3)
    assert film.frames.shape == (2, 64, 64, 3)
    assert film.frames.std() > 1


def test_an_inflated_folder_is_sharded_and_diffusers_reads_its_stage_one(inflated: Path) -> None:
    assert len(list((inflated / "unet").glob("*-of-*.safetensors"))) > 1
    assert (inflated / "temporal" / "diffusion_pytorch_model.safetensors.index.json").is_file()
    ours = load_parts(inflated, CPU, torch.float32)
    theirs = StableDiffusionPipeline.from_pretrained(inflated)
    assert all(torch.equal(v, ours.unet.state_dict()[k]) for k, v in theirs.unet.float().state_dict().items())
    words = ours.text_encoder.state_dict()
    assert all(torch.equal(v, words[k]) for k, v in theirs.text_encoder.float().state_dict().items())


def test_an_inflated_folder_trains(inflated: Path) -> None:
    """A few steps of the real objective lower its error, and move what inflation added."""
    parts = load_parts(inflated, CPU, torch.float32)
    for name, weight in parts.main.named_parameters():
        weight.requires_grad_(is_added(name))
    parts.appearnet.requires_grad_(True)
    moving = [w for net in (parts.main, parts.appearnet) for w in net.parameters() if w.requires_grad]
    optimiser = torch.optim.Adam(moving, lr=1e-3)
    denoiser = VideoDenoiser(parts.main, parts.appearnet)
    torch.manual_seed(0)
    clip, text = torch.randn(1, 2, 4, 8, 8), torch.randn(1, 5, 32)
    noise = with_appearance(torch.randn_like(clip), clip[:, 1], 0.03)
    t = torch.tensor([600])
    z = parts.schedule.noised(clip, noise, t)
    errors = []
    for _ in range(5):
        optimiser.zero_grad()
        error = (denoiser(z, clip[:, 1], t, text) - noise).square().mean()
        error.backward()
        optimiser.step()
        errors.append(float(error.detach()))
    assert errors[-1] < 0.9 * errors[0]


def test_out_appears_whole_and_never_twice(inflated: Path, tmp_path: Path) -> None:
    check_manifest(inflated)
    assert not inflated.with_name("model.partial").exists()
    family = small_family("microcinema-sd21")
    with pytest.raises(BadWeights, match="exists already"):
        inflate_to_folder(Source(tmp_path), family, inflated, torch.float16)


@pytest.mark.parametrize(
    ("source", "switch"),
    [
        (Source(Path(), tokenizer=Path("words")), "--tokenizer"),
        (Source(Path(), prediction="v_prediction"), "--prediction-type"),
    ],
)
def test_what_a_folder_says_itself_is_not_taken_from_the_command_line(source: Source, switch: str) -> None:
    with pytest.raises(BadWeights, match=f"says that itself: leave {switch} out"):
        source.load(small_family("microcinema-sd21"), torch.float32)


def test_another_familys_weights_are_refused_by_the_first_difference(tmp_path: Path) -> None:
    pipeline(small_family("microcinema-sd15")).save_pretrained(tmp_path / "picture")
    with pytest.raises(BadWeights, match=r"this UNet has heads \(4, 4, 4, 4\), .* needs \(1, 2, 3, 3\)"):
        inflate_to_folder(
            Source(tmp_path / "picture"),
            small_family("microcinema-sd21"),
            tmp_path / "model",
            torch.float16,
        )
    assert not (tmp_path / "model").exists()


def test_file_and_folder_of_the_same_weights_make_the_same_model(tmp_path: Path) -> None:
    family = small_family("microcinema-sd15")
    pipe = pipeline(family)
    pipe.save_pretrained(tmp_path / "picture")
    single_file(tmp_path / "m.safetensors", family, pipe)
    sources = Source(tmp_path / "picture"), Source(tmp_path / "m.safetensors", tmp_path / "picture/tokenizer")
    for number, source in enumerate(sources):
        inflate_to_folder(source, family, tmp_path / str(number), torch.float32)
    one, two = (load_file(tmp_path / n / "appearnet/diffusion_pytorch_model.safetensors") for n in "01")
    assert all(torch.equal(one[k], two[k]) for k in one)
    frames = [Cinema.load(tmp_path / n, device="cpu")("a circle", 5).digest for n in "01"]
    assert frames[0] == frames[1]


def test_the_command_refuses_with_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pipeline(small_family("microcinema-sd21"), prediction="v_prediction").save_pretrained(tmp_path / "v")
    options = ["--stable-diffusion", tmp_path / "v", "--spec", "microcinema-sd21", "--out", tmp_path / "out"]
    capsys.readouterr()  # what saving said
    with pytest.raises(SystemExit) as end:
        main([str(option) for option in options])
    assert end.value.code == 1
    said = capsys.readouterr().err
    assert "predicts velocity (v-prediction)" in said
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("shard_bytes", [SHARD_BYTES, 10_000])
def test_a_model_comes_back_from_its_folder(tmp_path: Path, dtype: torch.dtype, shard_bytes: int) -> None:
    write_nano(tmp_path / "first")
    first = load_parts(tmp_path / "first", CPU, torch.float32)
    save_parts(tmp_path / "second", first, dtype, shard_bytes=shard_bytes)
    second = load_parts(tmp_path / "second", CPU, torch.float32)
    before, after = every_tensor(first), every_tensor(second)
    assert before.keys() == after.keys()
    assert all(torch.equal(v.to(dtype).to(v.dtype), after[k]) for k, v in before.items())
    assert second.spec == first.spec == NANO
    assert second.schedule == first.schedule
    assert second.weight_hash == check_manifest(tmp_path / "second")


@pytest.mark.parametrize("file", ["temporal/config.json", "appearnet/config.json"])
def test_a_component_of_another_size_is_named(tmp_path: Path, file: str) -> None:
    write_nano(tmp_path)
    path = tmp_path / file
    path.write_text(json.dumps(json.loads(path.read_text()) | {"layers": 2}))
    write_manifest(tmp_path)
    with pytest.raises(BadWeights, match=rf"layers is 2 in {file} and 1 in cinema\.json"):
        load_parts(tmp_path, CPU, torch.float32)


def test_a_unet_of_another_size_is_named(tmp_path: Path) -> None:
    write_nano(tmp_path)
    flat_unet(replace(NANO.unet, text_width=24)).save_config(tmp_path / "unet")
    write_manifest(tmp_path)
    with pytest.raises(BadWeights, match=r"text_width is 24 in unet/config\.json and 16 in cinema\.json"):
        load_parts(tmp_path, CPU, torch.float32)
