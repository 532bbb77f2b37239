"""What a public video pipeline takes beside its weights, counted by its own networks on the meta device.

The networks are built from their configs, at the largest size and length that is offered: one step under
guidance, the keyframe through the autoencoder, the whole clip back. What is small beside a clip is left out:
text and picture encoders, the scheduler's few latents.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers.video_processor import VideoProcessor
from torch import Tensor, nn

from models.manifest import read_json
from models.memory_need import Activations
from models.pipeline_folder import pipeline_class
from models.pipeline_index import INDEX, check_index
from models.tensor_peak import Cost, cost_of
from models.vae import levels
from models.video_families import VIDEO_FAMILIES, Sizes

# A build of a network that these inputs do not suit (a later version's) ends in one of these.
_CANNOT_BE_COUNTED = (TypeError, ValueError, KeyError, AttributeError, RuntimeError, ArithmeticError)
_GUIDED = 2  # most pipelines run the prompt and the negative prompt as one batch
_CLIP_TOKENS, _LTX_TOKENS, _WAN_TOKENS = 77, 128, 512  # of a prompt


def public_activations(folder: Path, inside: torch.dtype, sizes: Sizes | None = None) -> Activations | None:
    """Of the pipeline in `folder` in the format `inside`, at the largest of `sizes` or of its family's.

    None for a pipeline that is no video family's, or of a build that cannot be counted. Raises BadWeights.
    """
    family = VIDEO_FAMILIES.get(pipeline_class(folder))
    if family is None:
        return None
    check_index(folder)
    width, height = max(sizes or family.sizes, key=prod)
    frames = family.frames.maximum
    decoder = torch.float32 if "vae" in family.float32_parts else inside
    part, step = _STEPS[pipeline_class(folder)]
    try:
        vae = _empty(folder, "vae", decoder)
        codec = _CODECS[type(vae).__name__](vae, width, height, frames)
        network = _empty(folder, part, inside)
        given = step(network.config, codec.clip, inside)
        with torch.inference_mode():
            denoised = cost_of(lambda: network(**given))
            encoded = Cost(0, 0) if family.keyframe is None else codec.encode()
            decoded = codec.decode(family.decode_chunk or 1)
    except _CANNOT_BE_COUNTED:
        return None
    passes = _GUIDED if part == "transformer" and given["hidden_states"].shape[0] == 1 else 1
    return Activations(
        denoise=denoised.peak,
        encode=encoded.peak,
        decode=decoded.peak,
        width=width,
        height=height,
        frames=frames,
        work=max(denoised.work * passes, encoded.work + decoded.work),
        in_turn=True,
    )


def _empty(folder: Path, part: str, inside: torch.dtype) -> Any:
    """The network of a component, as model_index.json names it, without its weights."""
    kind = getattr(diffusers, read_json(folder / INDEX)[part][1])
    with torch.device("meta"):
        network = kind.from_config(read_json(folder / part / "config.json"))
    nn.Module.to(network, "meta")  # a few single numbers are made on the CPU all the same
    # Not diffusers' own `to`, which warns of casts that matter for real weights only.
    return nn.Module.to(network, inside)


def _blank(*shape: int, dtype: torch.dtype) -> Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")


# -- autoencoders --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Clip:
    """A clip in latent cells: `frames` of `h` x `w`."""

    frames: int
    h: int
    w: int


class _Codec:
    """An autoencoder at one size (pixels) and length. `stride`, `fold`: pixels and frames per latent cell."""

    def __init__(self, vae: Any, width: int, height: int, frames: int, stride: int, fold: int = 1) -> None:
        self._vae, self._width, self._height, self._frames = vae, width, height, frames
        self.clip = _Clip((frames - 1) // fold + 1, height // stride, width // stride)

    def encode(self) -> Cost:
        """The keyframe."""
        vae, picture = self._vae, self._picture()

        def encode() -> object:
            return vae.encode(picture).latent_dist.mode()

        return cost_of(encode)

    def decode(self, chunk: int) -> Cost:
        """The whole clip, `chunk` frames at a time where that can be chosen, to levels."""
        made = self._decode(chunk)
        sample = _blank(1, 3, self._frames, self._height, self._width, dtype=torch.float32)
        frames = _blank(self._frames, 3, self._height, self._width, dtype=torch.float32)
        shown = cost_of(lambda: VideoProcessor().postprocess_video(sample, "pt")[0])
        levelled = cost_of(lambda: levels(frames))
        behind = frames.nbytes + max(shown.peak, levelled.peak)  # each beside what it is given
        return Cost(max(made.peak, behind), made.work)

    def _picture(self) -> Tensor:
        return _blank(1, 3, 1, self._height, self._width, dtype=self._vae.dtype)

    def _latents(self, frames: int) -> Tensor:
        return _blank(1, self._channels(), frames, self.clip.h, self.clip.w, dtype=self._vae.dtype)

    def _channels(self) -> int:
        return int(self._vae.config.latent_channels)

    def _decode(self, chunk: int) -> Cost:  # noqa: ARG002 - it takes the clip as a whole
        return cost_of(lambda: self._vae.decode(self._latents(self.clip.frames)).sample)


class _Frames(_Codec):
    """Stable Diffusion's, frame by frame, and Stable Video Diffusion's, some frames at a time."""

    def __init__(self, vae: Any, width: int, height: int, frames: int) -> None:
        super().__init__(vae, width, height, frames, 2 ** (len(vae.config.block_out_channels) - 1))
        self._together = isinstance(vae, diffusers.AutoencoderKLTemporalDecoder)

    def _picture(self) -> Tensor:
        return super()._picture()[:, :, 0]

    def _decode(self, chunk: int) -> Cost:
        """One chunk, beside the frames that are done."""
        told = {"num_frames": chunk} if self._together else {}
        z = _blank(chunk, self._channels(), self.clip.h, self.clip.w, dtype=self._vae.dtype)
        one = cost_of(lambda: self._vae.decode(z, **told).sample)
        done = 3 * self._frames * self._height * self._width * self._vae.dtype.itemsize
        joined = 2 * done
        return Cost(max(one.peak + done, joined), one.work * -(-self._frames // chunk))


class _CogVideoX(_Codec):
    def __init__(self, vae: Any, width: int, height: int, frames: int) -> None:
        config = vae.config
        stride = 2 ** (len(config.block_out_channels) - 1)
        super().__init__(vae, width, height, frames, stride, config.temporal_compression_ratio)


class _Ltx(_Codec):
    def __init__(self, vae: Any, width: int, height: int, frames: int) -> None:
        stride, fold = vae.spatial_compression_ratio, vae.temporal_compression_ratio
        super().__init__(vae, width, height, frames, stride, fold)

    def _decode(self, chunk: int) -> Cost:  # noqa: ARG002 - it takes the clip as a whole
        told = _blank(1, dtype=self._vae.dtype) if self._vae.config.timestep_conditioning else None
        return cost_of(lambda: self._vae.decode(self._latents(self.clip.frames), told).sample)


class _Wan(_Codec):
    """The keyframe goes in as the first frame of a clip that is grey behind it."""

    def __init__(self, vae: Any, width: int, height: int, frames: int) -> None:
        config = vae.config
        super().__init__(
            vae, width, height, frames, config.scale_factor_spatial, config.scale_factor_temporal
        )

    def _picture(self) -> Tensor:
        return _blank(1, 3, self._frames, self._height, self._width, dtype=self._vae.dtype)

    def _channels(self) -> int:
        return int(self._vae.config.z_dim)


_CODECS: Mapping[str, Callable[[Any, int, int, int], _Codec]] = {
    "AutoencoderKL": _Frames,
    "AutoencoderKLTemporalDecoder": _Frames,
    "AutoencoderKLCogVideoX": _CogVideoX,
    "AutoencoderKLLTXVideo": _Ltx,
    "AutoencoderKLWan": _Wan,
}


# -- one step ------------------------------------------------------------------------------------------------

_Given = dict[str, Any]


def _i2vgen_xl(config: Any, clip: _Clip, inside: torch.dtype) -> _Given:
    z = _blank(_GUIDED, config.in_channels, clip.frames, clip.h, clip.w, dtype=inside)
    return {
        "sample": z,
        "timestep": _blank(_GUIDED, dtype=torch.float32),
        "fps": _blank(_GUIDED, dtype=inside),
        "image_latents": torch.empty_like(z),
        "image_embeddings": _blank(_GUIDED, 1, config.cross_attention_dim, dtype=inside),
        "encoder_hidden_states": _text(_CLIP_TOKENS, config.cross_attention_dim, inside),
    }


def _stable_video(config: Any, clip: _Clip, inside: torch.dtype) -> _Given:
    return {
        "sample": _blank(_GUIDED, clip.frames, config.in_channels, clip.h, clip.w, dtype=inside),
        "timestep": _blank(_GUIDED, dtype=torch.float32),
        "encoder_hidden_states": _text(1, config.cross_attention_dim, inside),
        "added_time_ids": _blank(_GUIDED, 3, dtype=inside),
    }


def _modelscope(config: Any, clip: _Clip, inside: torch.dtype) -> _Given:
    return {
        "sample": _blank(_GUIDED, config.in_channels, clip.frames, clip.h, clip.w, dtype=inside),
        "timestep": _blank(_GUIDED, dtype=torch.float32),
        "encoder_hidden_states": _text(_CLIP_TOKENS, config.cross_attention_dim, inside),
    }


def _cogvideox(config: Any, clip: _Clip, inside: torch.dtype) -> _Given:
    fold = config.patch_size_t or 1
    frames = -(-clip.frames // fold) * fold  # the pipeline fills the last patch
    cells = frames // fold * (clip.h // config.patch_size) * (clip.w // config.patch_size)
    turns = _blank(cells, config.attention_head_dim, dtype=torch.float32)
    return {
        "hidden_states": _blank(_GUIDED, frames, config.in_channels, clip.h, clip.w, dtype=inside),
        "encoder_hidden_states": _text(config.max_text_seq_length, config.text_embed_dim, inside),
        "timestep": _blank(_GUIDED, dtype=torch.int64),
        "ofs": _blank(1, dtype=inside) if config.ofs_embed_dim else None,
        "image_rotary_emb": (turns, turns) if config.use_rotary_positional_embeddings else None,
    }


def _ltx(config: Any, clip: _Clip, inside: torch.dtype) -> _Given:
    cells = clip.frames * clip.h * clip.w
    return {
        "hidden_states": _blank(_GUIDED, cells, config.in_channels, dtype=inside),
        "encoder_hidden_states": _text(_LTX_TOKENS, config.caption_channels, inside),
        "timestep": _blank(_GUIDED, dtype=inside),
        "encoder_attention_mask": _blank(_GUIDED, _LTX_TOKENS, dtype=inside),
        "num_frames": clip.frames,
        "height": clip.h,
        "width": clip.w,
        "rope_interpolation_scale": (1.0, 1.0, 1.0),
    }


def _wan(config: Any, clip: _Clip, inside: torch.dtype) -> _Given:
    """One pass of two: its pipeline runs the prompt and the negative prompt one after the other."""
    picture = _blank(1, 257, config.image_dim, dtype=inside) if config.image_dim else None
    return {
        "hidden_states": _blank(1, config.in_channels, clip.frames, clip.h, clip.w, dtype=inside),
        "timestep": _blank(1, dtype=torch.int64),
        "encoder_hidden_states": _blank(1, _WAN_TOKENS, config.text_dim, dtype=inside),
        "encoder_hidden_states_image": picture,
    }


def _text(tokens: int, width: int, inside: torch.dtype) -> Tensor:
    return _blank(_GUIDED, tokens, width, dtype=inside)


#: Pipeline class -> the component that denoises, and what one call of it is given.
_STEPS: Mapping[str, tuple[str, Callable[[Any, _Clip, torch.dtype], _Given]]] = {
    "I2VGenXLPipeline": ("unet", _i2vgen_xl),
    "StableVideoDiffusionPipeline": ("unet", _stable_video),
    "CogVideoXImageToVideoPipeline": ("transformer", _cogvideox),
    "CogVideoXPipeline": ("transformer", _cogvideox),
    "LTXImageToVideoPipeline": ("transformer", _ltx),
    "WanImageToVideoPipeline": ("transformer", _wan),
    "TextToVideoSDPipeline": ("unet", _modelscope),
}
