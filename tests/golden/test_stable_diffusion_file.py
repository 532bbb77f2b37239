"""Single files in the original layout: our key map against diffusers' own conversion, and what is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
import torch
from accelerate import init_empty_weights
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.loaders.single_file_utils import (
    convert_ldm_clip_checkpoint,
    convert_ldm_unet_checkpoint,
    convert_ldm_vae_checkpoint,
    convert_open_clip_checkpoint,
)
from rig.stable_diffusion import pipeline, single_file, small_family
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import CLIPTextModel

from models import ldm_keys
from models.errors import BadWeights
from models.inflate import Source
from models.picture_configs import text_encoder_config, unet_config
from models.picture_families import FAMILIES
from models.stable_diffusion import PictureNetworks, Prediction
from models.stable_diffusion import load_file as load_single_file
from models.tensors import Place

CPU = torch.device("cpu")
NAMES = sorted(FAMILIES)


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    folder = tmp_path / "tokenizer"
    pipeline(small_family(NAMES[0])).tokenizer.save_pretrained(folder)
    return folder


def write(path: Path, name: str, metadata: dict[str, str] | None = None) -> dict[str, Tensor]:
    family = small_family(name)
    return single_file(path, family, pipeline(family, seed=7), metadata)


def load(path: Path, name: str, tokenizer: Path, said: Prediction | None = "epsilon") -> PictureNetworks:
    return load_single_file(path, small_family(name), tokenizer, CPU, torch.float32, said)


def equal(network: nn.Module, other: dict[str, Tensor]) -> bool:
    state = network.state_dict()
    return state.keys() == other.keys() and all(torch.equal(state[k], other[k]) for k in state)


@pytest.mark.parametrize("name", NAMES)
def test_a_single_file_loads_as_diffusers_converts_it(tmp_path: Path, name: str, tokenizer: Path) -> None:
    write(tmp_path / "model.safetensors", name)
    ours = load(tmp_path / "model.safetensors", name, tokenizer)
    file = load_file(tmp_path / "model.safetensors")
    assert equal(ours.unet, convert_ldm_unet_checkpoint(file, dict(ours.unet.config)))
    assert equal(ours.vae, convert_ldm_vae_checkpoint(file, dict(ours.vae.config)))
    prefix = "cond_stage_model.model."
    if FAMILIES[name].text.layout == "open_clip":
        # diffusers drops the block behind the last but one by its real number, 23; here that is number 2
        rest = {k: v for k, v in file.items() if "resblocks.2" not in k and "text_projection" not in k}
        words = convert_open_clip_checkpoint(ours.text_encoder, rest, prefix=prefix)
    else:
        words = convert_ldm_clip_checkpoint(file)
    words = {k.removeprefix("text_model."): v for k, v in words.items() if "position_ids" not in k}
    assert equal(ours.text_encoder, words)


@pytest.mark.parametrize("name", NAMES)
def test_the_weights_are_the_pipelines_and_the_spare_tensors_are_named(
    tmp_path: Path, name: str, tokenizer: Path
) -> None:
    pipe = pipeline(small_family(name), seed=7)
    write(tmp_path / "model.safetensors", name)
    ours = load(tmp_path / "model.safetensors", name, tokenizer)
    for part in ("unet", "vae", "text_encoder"):
        assert equal(getattr(ours, part), getattr(pipe, part).state_dict()), part
    assert ours.vae.config.scaling_factor == 0.18215
    assert {"betas", "model_ema.decay", "first_stage_model.loss.logvar"} < set(ours.unused)
    assert len(ours.unused) == (4 if FAMILIES[name].text.layout == "clip" else 6)


@pytest.mark.parametrize("name", NAMES)
def test_at_full_size_the_keys_are_those_of_released_files(name: str) -> None:
    """Numbers of tensors and landmark names of the released single files; nothing is allocated."""
    family = FAMILIES[name]
    with init_empty_weights():
        unet = UNet2DConditionModel(**unet_config(family.cinema.unet))
        vae = AutoencoderKL(
            block_out_channels=(128, 256, 512, 512),
            layers_per_block=2,
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
        )
        text = CLIPTextModel(text_encoder_config(family))

    def keys(network: nn.Module, places: Callable[[str], Iterable[Place]]) -> set[str]:
        return {next(iter(places(key))).key for key in network.state_dict()}

    unet_keys = keys(unet, lambda key: ldm_keys.unet_places(key, family.cinema.unet))
    vae_keys = keys(vae, lambda key: ldm_keys.vae_places(key, 4))
    text_keys = keys(text, lambda key: ldm_keys.text_places(key, family.text))
    assert len(unet_keys) == len(unet.state_dict()) == 686
    assert len(vae_keys) == len(vae.state_dict()) == 248
    assert "model.diffusion_model.output_blocks.11.0.skip_connection.weight" in unet_keys
    assert "model.diffusion_model.input_blocks.2.1.transformer_blocks.0.attn2.to_k.weight" in unet_keys
    assert "model.diffusion_model.output_blocks.8.2.conv.bias" in unet_keys
    assert "first_stage_model.decoder.up.3.upsample.conv.weight" in vae_keys
    assert "first_stage_model.encoder.mid.attn_1.proj_out.bias" in vae_keys
    if family.text.layout == "clip":
        assert len(text_keys) == 196
        assert "cond_stage_model.transformer.text_model.embeddings.position_embedding.weight" in text_keys
    else:
        assert len(text_keys) == 23 * 12 + 4
        assert "cond_stage_model.model.transformer.resblocks.22.attn.in_proj_weight" in text_keys


@pytest.mark.parametrize(
    ("metadata", "said", "sentence"),
    [
        ({}, None, "looks the same whether it predicts noise or velocity.*declare --prediction-type epsilon"),
        ({}, "v_prediction", r"predicts velocity \(v-prediction\)"),
        ({"modelspec.prediction_type": "v"}, "epsilon", r"predicts velocity \(v-prediction\)"),
        ({"modelspec.architecture": "stable-diffusion-v2-768-v"}, "epsilon", "predicts velocity"),
    ],
)
def test_a_file_of_2x_must_be_known_to_predict_noise(
    tmp_path: Path, tokenizer: Path, metadata: dict[str, str], said: Prediction | None, sentence: str
) -> None:
    write(tmp_path / "m.safetensors", "microcinema-sd21", metadata)
    with pytest.raises(BadWeights, match=sentence):
        load(tmp_path / "m.safetensors", "microcinema-sd21", tokenizer, said)


def test_what_says_that_it_predicts_noise_is_believed(tmp_path: Path, tokenizer: Path) -> None:
    path = tmp_path / "m.safetensors"
    write(path, "microcinema-sd21", {"modelspec.prediction_type": "epsilon"})
    load(path, "microcinema-sd21", tokenizer, None)
    write(path, "microcinema-sd15")  # no 1.x file was ever anything else
    load(path, "microcinema-sd15", tokenizer, None)
    save_file(load_file(path) | {"v_pred": torch.ones(1)}, path)  # unless it carries the usual mark
    with pytest.raises(BadWeights, match="predicts velocity"):
        load(path, "microcinema-sd15", tokenizer, None)


def test_another_architecture_is_named_by_key_and_shape(tmp_path: Path, tokenizer: Path) -> None:
    path = tmp_path / "m.safetensors"
    state = write(path, "microcinema-sd21")
    extra = "model.diffusion_model.label_emb.0.0.weight"
    save_file(state | {extra: torch.ones(1)}, path)
    with pytest.raises(BadWeights, match=rf"no parameter takes '{extra}': another architecture"):
        load(path, "microcinema-sd21", tokenizer)
    first = "model.diffusion_model.input_blocks.0.0.weight"
    save_file(state | {first: torch.ones(32, 9, 3, 3)}, path)
    with pytest.raises(
        BadWeights, match=rf"'{first}' has shape \(32, 9, 3, 3\), 'conv_in\.weight' needs \(32, 4"
    ):
        load(path, "microcinema-sd21", tokenizer)
    write(path, "microcinema-sd15")
    with pytest.raises(BadWeights, match=r"has shape \(32, 32, 1, 1\), .* needs \(32, 32\)"):
        load(path, "microcinema-sd21", tokenizer)


def test_a_single_file_without_tokenizer_or_with_a_pickles_name_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    path.touch()
    with pytest.raises(BadWeights, match="a single file has no tokenizer: name a CLIP tokenizer's folder"):
        Source(path).load(FAMILIES["microcinema-sd15"], torch.float32)
    pickled = path.with_suffix(".ckpt")
    pickled.touch()
    with pytest.raises(BadWeights, match=r"m\.ckpt is a pickle"):
        Source(pickled, tmp_path).load(FAMILIES["microcinema-sd15"], torch.float32)
    with pytest.raises(BadWeights, match="is neither a folder nor a file"):
        Source(tmp_path / "absent").load(FAMILIES["microcinema-sd15"], torch.float32)
