"""Stable Diffusion folders: loaded strictly, and inflated to a network that is the 2D UNet at one frame."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from rig.stable_diffusion import pipeline, small_family
from safetensors.torch import load_file, save_file

from models.errors import BadWeights
from models.inflate import inflate
from models.picture_configs import read_unet_spec
from models.picture_families import FAMILIES
from models.spec import SD15, SD21
from models.stable_diffusion import load_folder

CPU = torch.device("cpu")
UNET_FILE = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = {}
    for name in FAMILIES:
        made[name] = tmp_path_factory.mktemp(name)
        pipeline(small_family(name)).save_pretrained(made[name])
    return made


@pytest.fixture
def copy(folders: dict[str, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(folders["microcinema-sd21"], tmp_path / "copy"))


def edit(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def rename(path: Path, change: Callable[[str], str]) -> None:
    save_file({change(k): v for k, v in load_file(path).items()}, path)


@pytest.mark.parametrize("name", sorted(FAMILIES))
@pytest.mark.parametrize("side", [8, 11])
def test_at_one_frame_the_inflated_network_is_the_2d_unet(
    folders: dict[str, Path], name: str, side: int
) -> None:
    spec = small_family(name).cinema.unet
    main, appearnet = inflate(load_folder(folders[name], CPU, torch.float32).unet, spec)
    theirs = UNet2DConditionModel.from_pretrained(folders[name] / "unet").eval()
    torch.manual_seed(4)
    z, text, t = torch.randn(2, 4, side, side), torch.randn(2, 9, spec.text_width), torch.tensor([1, 950])
    with torch.no_grad():
        flat = theirs(z, t, text).sample
        video = main(z[:, None], t, text, appearnet(z[:, None], z.flip(0), t, text))
    assert float((video[:, 0] - flat).abs().max()) <= 1e-4
    assert float(flat.std()) > 0.01  # equal because both are right, not because both are silent


def test_names_that_older_tools_gave_are_the_same_weights(copy: Path) -> None:
    before = load_folder(copy, CPU, torch.float32)
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}

    def vae_name(key: str) -> str:
        for new, name in old.items():
            key = key.replace(f"attentions.0.{new}.", f"attentions.0.{name}.")
        return key

    rename(copy / "vae" / "diffusion_pytorch_model.safetensors", vae_name)
    path = copy / "text_encoder" / "model.safetensors"
    rename(path, lambda key: f"text_model.{key}")
    save_file(load_file(path) | {"text_model.embeddings.position_ids": torch.arange(24)[None]}, path)
    after = load_folder(copy, CPU, torch.float32)
    for network in ("vae", "text_encoder", "unet"):
        states = [getattr(each, network).state_dict() for each in (before, after)]
        assert states[0].keys() == states[1].keys()
        assert all(torch.equal(states[0][k], states[1][k]) for k in states[0]), network
    assert before.unused == ()
    assert after.unused == ("text_encoder/text_model.embeddings.position_ids",)


# As released with the weights: what the oldest folder of each family says, and no more.
RELEASED: dict[str, dict[str, Any]] = {
    "microcinema-sd15": {"attention_head_dim": 8, "cross_attention_dim": 768},
    "microcinema-sd21": {
        "attention_head_dim": [5, 10, 20, 20],
        "cross_attention_dim": 1024,
        "dual_cross_attention": False,
        "only_cross_attention": False,
        "upcast_attention": True,
        "use_linear_projection": True,
    },
}


@pytest.mark.parametrize("spec", [SD15, SD21], ids=lambda spec: spec.name)
def test_released_unet_configs_are_our_specs(spec: Any) -> None:
    config = {
        "_class_name": "UNet2DConditionModel",
        "act_fn": "silu",
        "block_out_channels": [320, 640, 1280, 1280],
        "center_input_sample": False,
        "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
        "downsample_padding": 1,
        "flip_sin_to_cos": True,
        "freq_shift": 0,
        "in_channels": 4,
        "layers_per_block": 2,
        "mid_block_scale_factor": 1,
        "norm_eps": 1e-05,
        "norm_num_groups": 32,
        "out_channels": 4,
        "sample_size": 64,
        "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
    }
    assert read_unet_spec(config | RELEASED[spec.name], Path("unet")) == spec.unet


@pytest.mark.parametrize(
    ("file", "change", "sentence"),
    [
        (
            "scheduler/scheduler_config.json",
            {"prediction_type": "v_prediction"},
            r"it predicts velocity \(v-prediction\).* such as Stable Diffusion 2\.1-base instead of 2\.1",
        ),
        ("scheduler/scheduler_config.json", {"rescale_betas_zero_snr": True}, "rescale_betas_zero_snr True"),
        (
            "model_index.json",
            {"_class_name": "StableDiffusionXLPipeline"},
            "holds a StableDiffusionXLPipeline",
        ),
        ("unet/config.json", {"in_channels": 9}, "in_channels is 9 and out_channels 4: only a UNet"),
        (
            "unet/config.json",
            {"addition_embed_type": "text_time"},
            "addition_embed_type is 'text_time', only None",
        ),
        (
            "unet/config.json",
            {"transformer_layers_per_block": [1, 2, 10]},
            r"transformer_layers_per_block is \[1, 2",
        ),
        ("unet/config.json", {"downsample_padding": 0}, "downsample_padding is 0, only 1 can be inflated"),
        ("unet/config.json", {"timestep_post_act": "silu"}, "timestep_post_act is 'silu', only None"),
        ("unet/config.json", {"time_embedding_act_fn": "silu"}, "time_embedding_act_fn is 'silu', only None"),
        ("unet/config.json", {"norm_num_groups": 7}, "channels 32 must be a multiple of norm_groups 7"),
        ("vae/config.json", {"shift_factor": 0.1}, "shift_factor is set"),
        ("vae/config.json", {"block_out_channels": [8, 8, 24, 24]}, r"has shape \(16, .* needs \(24, "),
    ],
)
def test_a_folder_that_would_render_wrongly_is_refused(
    copy: Path, file: str, change: dict[str, Any], sentence: str
) -> None:
    edit(copy / file, lambda content: content.update(change))
    with pytest.raises(BadWeights, match=sentence):
        load_folder(copy, CPU, torch.float32)


def test_a_schedule_that_is_left_out_is_diffusers_default_which_is_another(copy: Path) -> None:
    path = copy / "scheduler" / "scheduler_config.json"
    edit(path, lambda config: config.pop("beta_schedule"))
    assert DDIMScheduler.from_pretrained(path.parent).config.beta_schedule == "linear"
    with pytest.raises(BadWeights, match="scheduler beta_schedule 'linear' is not supported"):
        load_folder(copy, CPU, torch.float32)


def test_keys_that_fit_nothing_and_pickles_beside_are_refused(copy: Path) -> None:
    state = load_file(copy / UNET_FILE)
    save_file(state | {"lora.up.weight": torch.ones(1)}, copy / UNET_FILE)
    with pytest.raises(
        BadWeights, match=r"unet: no parameter takes 'lora\.up\.weight': another architecture"
    ):
        load_folder(copy, CPU, torch.float32)
    save_file(state | {"conv_in.weight": torch.ones(32, 9, 3, 3)}, copy / UNET_FILE)
    with pytest.raises(BadWeights, match=r"'conv_in\.weight' has shape \(32, 9, 3, 3\).* \(32, 4, 3, 3\)"):
        load_folder(copy, CPU, torch.float32)
    save_file(state, copy / UNET_FILE)
    load_folder(copy, CPU, torch.float32)
    (copy / "vae" / "diffusion_pytorch_model.bin").write_bytes(b"")
    with pytest.raises(BadWeights, match=r"vae/diffusion_pytorch_model\.bin is a pickle"):
        load_folder(copy, CPU, torch.float32)


def test_an_old_folders_autoencoder_is_not_made_fp32_by_a_default_that_came_later(copy: Path) -> None:
    assert load_folder(copy, CPU, torch.float32).vae.config.force_upcast is True  # it says so
    edit(copy / "vae" / "config.json", lambda config: config.pop("force_upcast"))
    assert load_folder(copy, CPU, torch.float32).vae.config.force_upcast is False


def test_a_tokenizer_without_vocabulary_is_refused(copy: Path) -> None:
    shutil.rmtree(copy / "tokenizer")
    with pytest.raises(BadWeights, match=r"there is neither tokenizer\.json nor vocab\.json"):
        load_folder(copy, CPU, torch.float32)


def test_the_loaded_networks_are_what_diffusers_loads(folders: dict[str, Path]) -> None:
    ours = load_folder(folders["microcinema-sd15"], CPU, torch.float32)
    theirs = StableDiffusionPipeline.from_pretrained(folders["microcinema-sd15"])
    tokens = torch.tensor([[512, 70, 71, 513]])
    with torch.no_grad():
        assert torch.equal(
            ours.text_encoder(tokens).last_hidden_state, theirs.text_encoder(tokens).last_hidden_state
        )
        z = torch.randn(1, 4, 8, 8)
        assert torch.equal(ours.vae.decode(z).sample, theirs.vae.decode(z).sample)
    assert ours.tokenizer("a red circle").input_ids == theirs.tokenizer("a red circle").input_ids
