"""A MicroCinema model as one folder: a standard Stable Diffusion folder plus what inflation added.

    model_index.json  unet/  vae/  text_encoder/  tokenizer/  scheduler/   stage 1, loadable by diffusers
    temporal/     temporal and fusion weights of the main network; its spatial weights are unet/'s
    appearnet/    the whole AppearNet
    cinema.json   the CinemaSpec
    manifest.json size and sha256 of every file above; the model's weight hash

Everything is safetensors and JSON: loading never unpickles. Components over 5 GB are stored in shards.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from models.appearnet import AppearNet
from models.errors import BadWeights
from models.manifest import check_manifest, read_json, write_manifest
from models.picture_configs import read_unet_spec
from models.schedule import Schedule
from models.spec import CinemaSpec, FrameRule, UNetSpec, Vocabulary
from models.stable_diffusion import load_folder
from models.tensors import (
    SHARD_BYTES,
    TEXT_STEM,
    WEIGHTS_STEM,
    StoredTensors,
    assign,
    read_state,
    refuse_strange,
    write_tensors,
)
from models.unet import InflatedUNet, is_added

# The manifest is part of the folder's format, so its two verbs are offered here as well.
__all__ = [
    "Parts",
    "check_manifest",
    "load_parts",
    "read_spec",
    "read_stage_two",
    "save_parts",
    "save_stage_two",
    "write_manifest",
]

CINEMA = "cinema.json"
_COMPONENTS = {
    "scheduler": ["diffusers", "DDIMScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}


@dataclass(frozen=True)
class Parts:
    """The networks of a model. `unet` and `main` share their spatial tensors: they are in memory once.

    `weight_hash` names the folder that they were loaded from; empty before they were ever saved.
    """

    spec: CinemaSpec
    weight_hash: str
    unet: UNet2DConditionModel
    main: InflatedUNet
    appearnet: AppearNet
    vae: AutoencoderKL
    text_encoder: CLIPTextModel
    tokenizer: CLIPTokenizer
    schedule: Schedule


def load_parts(folder: Path, device: torch.device, dtype: torch.dtype) -> Parts:
    """Load every network for inference; raises BadWeights with the file and key that is wrong.

    Tensors go one by one from the mapped file to `device` in `dtype`: the host holds the networks that stay
    on it plus, for a moment, one tensor.
    """
    weight_hash = check_manifest(folder)
    spec = read_spec(folder)
    stored = read_unet_spec(read_json(folder / "unet" / "config.json"), folder / "unet")
    if stored != spec.unet:
        raise BadWeights(f"{folder}: {_difference(asdict(stored), asdict(spec.unet), 'unet/config.json')}")
    picture = load_folder(folder, device, dtype)
    with torch.device("meta"):
        main, appearnet = InflatedUNet(spec.unet), AppearNet(spec.unet)
    added, own = read_stage_two(folder, main, appearnet, device, dtype)
    assign(main, picture.unet.state_dict() | added)
    assign(appearnet, own)
    return Parts(
        spec=spec,
        weight_hash=weight_hash,
        unet=picture.unet,
        main=main.eval().requires_grad_(False),
        appearnet=appearnet.eval().requires_grad_(False),
        vae=picture.vae,
        text_encoder=picture.text_encoder,
        tokenizer=picture.tokenizer,
        schedule=picture.schedule,
    )


def read_stage_two(
    folder: Path, main: InflatedUNet, appearnet: AppearNet, device: torch.device, dtype: torch.dtype
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """What inflation added to the main network, and AppearNet, as stored for networks of these sizes."""
    spec = main.spec
    states = []
    for name, network in (("temporal", _added(main)), ("appearnet", appearnet.state_dict())):
        config = folder / name / "config.json"
        if config.is_file():  # the first shipped model was saved without it
            said = {key: value for key, value in read_json(config).items() if key != "_class_name"}
            expected: dict[str, Any] = json.loads(json.dumps(asdict(spec)))
            if said != expected:
                raise BadWeights(f"{folder}: {_difference(said, expected, f'{name}/config.json')}")
        stored = StoredTensors.of_component(folder / name)
        state, used = read_state(network, stored, device, dtype)
        refuse_strange(stored.origin, sorted(set(stored) - used))
        states.append(state)
    return states[0], states[1]


def save_parts(folder: Path, parts: Parts, dtype: torch.dtype, *, shard_bytes: int = SHARD_BYTES) -> str:
    """Write a whole model in `dtype` (float16 or float32); returns its weight hash."""
    modules: tuple[tuple[str, nn.Module, str], ...] = (
        ("unet", parts.unet, WEIGHTS_STEM),
        ("vae", parts.vae, WEIGHTS_STEM),
        ("text_encoder", parts.text_encoder, TEXT_STEM),
    )
    for name, module, stem in modules:
        write_tensors(folder / name, module.state_dict(), dtype, stem=stem, shard_bytes=shard_bytes)
    parts.unet.save_config(folder / "unet")
    parts.vae.save_config(folder / "vae")
    parts.text_encoder.config.save_pretrained(folder / "text_encoder")
    parts.tokenizer.save_pretrained(folder / "tokenizer")
    DDIMScheduler(
        beta_start=parts.schedule.beta_start,
        beta_end=parts.schedule.beta_end,
        num_train_timesteps=parts.schedule.train_steps,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    ).save_pretrained(folder / "scheduler")
    index = {
        "_class_name": "StableDiffusionPipeline",
        "_diffusers_version": diffusers.__version__,
        "feature_extractor": [None, None],
        "requires_safety_checker": False,
        "safety_checker": [None, None],
    }
    _write_json(folder / "model_index.json", index | _COMPONENTS)
    return save_stage_two(folder, parts.spec, parts.main, parts.appearnet, dtype, shard_bytes=shard_bytes)


def save_stage_two(
    folder: Path,
    spec: CinemaSpec,
    main: InflatedUNet,
    appearnet: AppearNet,
    dtype: torch.dtype,
    *,
    shard_bytes: int = SHARD_BYTES,
) -> str:
    """Write temporal/, appearnet/, cinema.json and the manifest into a Stable Diffusion folder.

    Returns the weight hash.
    """
    for name, kind, state in (
        ("temporal", "InflatedUNet", _added(main)),
        ("appearnet", "AppearNet", appearnet.state_dict()),
    ):
        write_tensors(folder / name, state, dtype, shard_bytes=shard_bytes)
        _write_json(folder / name / "config.json", {"_class_name": kind, **asdict(spec.unet)})
    _write_json(folder / CINEMA, asdict(spec))
    return write_manifest(folder)


def read_spec(folder: Path) -> CinemaSpec:
    """The CinemaSpec that the folder was saved with."""
    raw = read_json(folder / CINEMA)
    try:
        unet: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in raw.pop("unet").items()}
        sizes = tuple((int(w), int(h)) for w, h in raw.pop("sizes"))
        words = raw.pop("vocabulary", None)  # folders of earlier releases have none
        return CinemaSpec(
            unet=UNetSpec(**unet),
            frames=FrameRule(**raw.pop("frames")),
            sizes=sizes,
            vocabulary=words and Vocabulary(**{kind: tuple(each) for kind, each in words.items()}),
            **raw,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadWeights(f"{folder / CINEMA} is not the spec of a model: {error}") from error


def _added(main: InflatedUNet) -> dict[str, Tensor]:
    return {name: value for name, value in main.state_dict().items() if is_added(name)}


def _difference(said: Mapping[str, Any], expected: Mapping[str, Any], origin: str) -> str:
    name = next(n for n in [*expected, *said] if said.get(n) != expected.get(n))
    return f"{name} is {said.get(name)!r} in {origin} and {expected.get(name)!r} in {CINEMA}"


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")
