"""Where the original single-file layout of Stable Diffusion keeps each parameter (Rombach et al. 2022).

Written from our side: for a parameter in diffusers' naming, the places where a file may hold it. So a
parameter without a place is an error by itself, and what no parameter asked for is left over by name.
tests/golden/test_stable_diffusion_file.py compares the result with diffusers' own conversion.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from models.picture_families import TextEncoderSpec
from models.spec import UNetSpec
from models.tensors import Place

UNET, VAE, TEXT = "model.diffusion_model.", "first_stage_model.", "cond_stage_model."

_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_UNET_TOP = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
_VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
_OPEN_CLIP = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}
_OPEN_CLIP_TOP = {
    "embeddings.token_embedding.weight": "token_embedding.weight",
    "embeddings.position_embedding.weight": "positional_embedding",
    "final_layer_norm.weight": "ln_final.weight",
    "final_layer_norm.bias": "ln_final.bias",
}
_BLOCK = re.compile(r"(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.+)")
_MIDDLE = re.compile(r"mid_block\.(resnets|attentions)\.(\d+)\.(.+)")


def unet_places(name: str, spec: UNetSpec) -> Iterable[Place]:
    """Of a UNet2DConditionModel's parameter."""
    return (Place(UNET + _unet_key(name, spec)),)


def _unet_key(name: str, spec: UNetSpec) -> str:
    if middle := _MIDDLE.fullmatch(name):
        sort, index, rest = middle.groups()
        place = 2 * int(index) if sort == "resnets" else 1
        return f"middle_block.{place}.{_resnet(rest) if sort == 'resnets' else rest}"
    if block := _BLOCK.fullmatch(name):
        side, level, sort, index, rest = block.groups()
        row = int(level), int(index)
        inner = _resnet(rest) if sort == "resnets" else rest
        if sort == "downsamplers":
            inner = inner.replace("conv.", "op.", 1)
        return f"{(_input_block if side == 'down' else _output_block)(*row, sort, spec)}.{inner}"
    layer, _, kind = name.rpartition(".")
    return f"{_UNET_TOP.get(layer, layer)}.{kind}"


def _input_block(level: int, index: int, sort: str, spec: UNetSpec) -> str:
    """Every ResBlock is a row, and every downsample one behind its level; row 0 is conv_in."""
    row = 1 + level * (spec.layers + 1) + (spec.layers if sort == "downsamplers" else index)
    return f"input_blocks.{row}.{1 if sort == 'attentions' else 0}"


def _output_block(level: int, index: int, sort: str, spec: UNetSpec) -> str:
    """Every ResBlock is a row; an upsample is the last part of its level's last row."""
    row = level * (spec.layers + 1) + (spec.layers if sort == "upsamplers" else index)
    attends = spec.attention[spec.levels - 1 - level]
    part = {"resnets": 0, "attentions": 1, "upsamplers": 2 if attends else 1}[sort]
    return f"output_blocks.{row}.{part}"


def vae_places(name: str, levels: int) -> Iterable[Place]:
    """Of an AutoencoderKL's parameter; its attention is kept as 1x1 convolutions."""
    side, _, rest = name.partition(".")
    if side not in ("encoder", "decoder"):
        return (Place(VAE + name),)
    if middle := _MIDDLE.fullmatch(rest):
        sort, index, inner = middle.groups()
        if sort == "attentions":
            layer, _, kind = inner.rpartition(".")
            return (Place(f"{VAE}{side}.mid.attn_1.{_VAE_ATTENTION[layer]}.{kind}", squeezed=True),)
        return (Place(f"{VAE}{side}.mid.block_{int(index) + 1}.{_shortcut(inner)}"),)
    if block := _BLOCK.fullmatch(rest):
        way, number, sort, index, inner = block.groups()
        level = int(number) if way == "down" else levels - 1 - int(number)
        part = f"{way}sample" if "samplers" in sort else f"block.{index}"
        return (Place(f"{VAE}{side}.{way}.{level}.{part}.{_shortcut(inner)}"),)
    return (Place(f"{VAE}{side}.{rest.replace('conv_norm_out', 'norm_out')}"),)


def text_places(name: str, spec: TextEncoderSpec) -> Iterable[Place]:
    """Of a CLIPTextModel's parameter."""
    name = name.removeprefix("text_model.")
    if spec.layout == "clip":
        # some merging tools leave the wrapper's name out
        return Place(f"{TEXT}transformer.text_model.{name}"), Place(f"{TEXT}transformer.{name}")
    prefix = f"{TEXT}model."
    if name in _OPEN_CLIP_TOP:
        return (Place(prefix + _OPEN_CLIP_TOP[name]),)
    _, _, number, rest = name.split(".", 3)  # encoder.layers.<number>.<rest>
    layer, _, kind = rest.rpartition(".")
    block = f"{prefix}transformer.resblocks.{number}"
    for third, packed in enumerate(("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")):
        if layer == packed:
            return (Place(f"{block}.attn.in_proj_{kind}", third=third),)
    return (Place(f"{block}.{_OPEN_CLIP[layer]}.{kind}"),)


def is_spare(key: str, text: TextEncoderSpec) -> bool:
    """Is this a tensor of the three networks' namespaces that a text-to-picture folder has no use for?

    The autoencoder's training loss, buffers that are computed, and the end of the text encoder behind the
    layer that is read.
    """
    if key.startswith((f"{VAE}loss.", f"{VAE}model_ema.")):
        return True
    last = re.match(re.escape(f"{TEXT}model.transformer.resblocks.") + r"(\d+)\.", key)
    if last:
        return int(last.group(1)) >= text.layers
    return key.startswith(TEXT) and key.endswith(
        ("position_ids", "logit_scale", "text_projection", "text_projection.weight", "attn_mask")
    )


def _resnet(rest: str) -> str:
    layer, _, kind = rest.rpartition(".")
    return f"{_RESNET[layer]}.{kind}"


def _shortcut(rest: str) -> str:
    return rest.replace("conv_shortcut", "nin_shortcut")
