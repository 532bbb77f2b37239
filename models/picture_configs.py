"""Between our specs and the configs of diffusers and transformers: sizes to settings, and settings to sizes.

Reading refuses every setting that inflation or our samplers would silently get wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import CLIPTextConfig

from models.errors import BadWeights
from models.picture_families import PictureFamily
from models.schedule import Schedule
from models.spec import UNetSpec

# What a UNet's config may leave out or say, but not change: inflation builds exactly these blocks.
_PLAIN: dict[str, Any] = {
    "act_fn": "silu",
    "addition_embed_type": None,
    "attention_type": "default",
    "center_input_sample": False,
    "class_embed_type": None,
    "downsample_padding": 1,
    "dual_cross_attention": False,
    "encoder_hid_dim": None,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "mid_block_scale_factor": 1,
    "mid_block_type": "UNetMidBlock2DCrossAttn",
    "norm_eps": 1e-5,
    "num_attention_heads": None,
    "num_class_embeds": None,
    "only_cross_attention": False,
    "resnet_time_scale_shift": "default",
    "time_cond_proj_dim": None,
    "time_embedding_act_fn": None,
    "time_embedding_type": "positional",
    "timestep_post_act": None,
    "transformer_layers_per_block": 1,
}
_SCHEDULE: dict[str, Any] = {
    "prediction_type": "epsilon",
    "beta_schedule": "scaled_linear",
    "trained_betas": None,
    "rescale_betas_zero_snr": False,
}
# What diffusers takes for a setting that is left out, where that is not what we know.
_LEFT_OUT = {"beta_schedule": "linear"}
VELOCITY = (
    "it predicts velocity (v-prediction), and the Appearance Noise Prior is a statement about predicted "
    "noise: use a model that predicts epsilon, such as Stable Diffusion 2.1-base instead of 2.1"
)


def unet_config(spec: UNetSpec) -> dict[str, Any]:
    """diffusers' settings of the 2D UNet that `spec` inflates."""
    same_heads = len(set(spec.heads)) == 1
    return {
        "sample_size": spec.latent_size,
        "in_channels": spec.latent_channels,
        "out_channels": spec.latent_channels,
        "block_out_channels": spec.channels,
        "layers_per_block": spec.layers,
        "down_block_types": tuple("CrossAttnDownBlock2D" if a else "DownBlock2D" for a in spec.attention),
        "up_block_types": tuple("CrossAttnUpBlock2D" if a else "UpBlock2D" for a in reversed(spec.attention)),
        # diffusers calls the number of heads `attention_head_dim`
        "attention_head_dim": spec.heads[0] if same_heads else spec.heads,
        "cross_attention_dim": spec.text_width,
        "norm_num_groups": spec.norm_groups,
        "use_linear_projection": spec.linear_projection,
    }


def read_unet_spec(config: Mapping[str, Any], origin: Path) -> UNetSpec:
    """The spec whose inflation takes the weights of a UNet with this config.

    Raises BadWeights naming the setting that inflation does not build, and what it would have to be.
    """
    try:
        channels, kinds = config["block_out_channels"], config["down_block_types"]
        heads = config["attention_head_dim"]  # diffusers' name for the number of heads
        spec = UNetSpec(
            latent_channels=config["in_channels"],
            latent_size=config["sample_size"],
            channels=tuple(channels),
            attention=tuple(kind == "CrossAttnDownBlock2D" for kind in kinds),
            heads=(heads,) * len(channels) if isinstance(heads, int) else tuple(heads),
            layers=config["layers_per_block"],
            text_width=config["cross_attention_dim"],
            norm_groups=config.get("norm_num_groups", 32),
            linear_projection=config.get("use_linear_projection", False),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise BadWeights(f"{origin}: this UNet's config cannot be inflated: {error}") from error
    if config.get("out_channels", spec.latent_channels) != spec.latent_channels:
        raise BadWeights(
            f"{origin}: in_channels is {spec.latent_channels} and out_channels {config['out_channels']}: "
            "only a UNet that takes what it gives can be inflated, not one for inpainting or depth"
        )
    built = unet_config(spec)
    expected = _PLAIN | {name: built[name] for name in ("down_block_types", "up_block_types")}
    for name, plain in expected.items():
        said = config.get(name, plain)
        if (tuple(said) if isinstance(said, list) else said) != plain:
            raise BadWeights(f"{origin}: {name} is {said!r}, only {plain!r} can be inflated")
    return spec


def text_encoder_config(family: PictureFamily) -> CLIPTextConfig:
    """transformers' settings of a family's text encoder; prompts begin and end with its last two tokens."""
    text, width = family.text, family.cinema.unet.text_width
    return CLIPTextConfig(
        vocab_size=text.vocabulary,
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=text.layers,
        num_attention_heads=text.heads,
        max_position_embeddings=text.length,
        hidden_act=text.activation,
        projection_dim=width,
        bos_token_id=text.vocabulary - 2,
        eos_token_id=text.vocabulary - 1,
        pad_token_id=text.vocabulary - 1,
    )


def read_schedule(config: Mapping[str, Any], folder: Path) -> Schedule:
    """What is not our schedule must not be rendered with it: the pictures would be wrong, not broken."""
    if config.get("prediction_type") == "v_prediction":
        raise BadWeights(
            f"{folder}: scheduler prediction_type 'v_prediction' is not supported, only 'epsilon': {VELOCITY}"
        )
    for name, known in _SCHEDULE.items():
        said = config.get(name, _LEFT_OUT.get(name, known))
        if said != known:
            raise BadWeights(f"{folder}: scheduler {name} {said!r} is not supported, only {known!r}")
    try:
        return Schedule(config["beta_start"], config["beta_end"], config["num_train_timesteps"])
    except KeyError as error:
        raise BadWeights(f"{folder}: scheduler_config.json has no {error}") from error
