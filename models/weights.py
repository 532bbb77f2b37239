"""A MicroCinema model as one folder: a standard Stable Diffusion folder plus what inflation added.

    model_index.json  unet/  vae/  text_encoder/  tokenizer/  scheduler/   stage 1, loadable by diffusers
    temporal/     temporal and fusion weights of the main network; its spatial weights are unet/'s
    appearnet/    the whole AppearNet
    cinema.json   the CinemaSpec
    manifest.json size and sha256 of every file above; the model's weight hash

Everything is safetensors and JSON: loading never unpickles.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from models.appearnet import AppearNet
from models.errors import BadWeights
from models.schedule import Schedule
from models.spec import CinemaSpec, FrameRule, UNetSpec, Vocabulary
from models.unet import InflatedUNet, is_added

WEIGHTS = "diffusion_pytorch_model.safetensors"
MANIFEST = "manifest.json"
_HASHED = {".safetensors", ".json", ".txt"}


@dataclass(frozen=True)
class Parts:
    """The loaded networks. `unet` and `main` share their spatial tensors: they are in memory once."""

    spec: CinemaSpec
    weight_hash: str
    unet: UNet2DConditionModel
    main: InflatedUNet
    appearnet: AppearNet
    vae: AutoencoderKL
    text_encoder: CLIPTextModel
    tokenizer: CLIPTokenizer
    schedule: Schedule


def save_stage_two(
    folder: Path, spec: CinemaSpec, main: InflatedUNet, appearnet: AppearNet, dtype: torch.dtype
) -> None:
    """Write temporal/, appearnet/, cinema.json and the manifest into a Stable Diffusion folder."""
    added = {name: value for name, value in main.state_dict().items() if is_added(name)}
    for name, state in (("temporal", added), ("appearnet", appearnet.state_dict())):
        (folder / name).mkdir(parents=True, exist_ok=True)
        save_file({k: v.to(dtype).contiguous().cpu() for k, v in state.items()}, folder / name / WEIGHTS)
    (folder / "cinema.json").write_text(json.dumps(asdict(spec), indent=2) + "\n")
    write_manifest(folder)


def write_manifest(folder: Path) -> str:
    """Record size and sha256 of every weight and config file; returns the weight hash."""
    files = {
        str(path.relative_to(folder)): {"bytes": path.stat().st_size, "sha256": _sha256(path)}
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix in _HASHED and path.name != MANIFEST
    }
    digest = hashlib.sha256("".join(f"{k} {v['sha256']}\n" for k, v in files.items()).encode()).hexdigest()
    (folder / MANIFEST).write_text(json.dumps({"weight_hash": digest, "files": files}, indent=1) + "\n")
    return digest


def check_manifest(folder: Path) -> str:
    """Compare every file with the manifest; returns the weight hash or raises BadWeights naming the file."""
    manifest = _read_json(folder / MANIFEST)
    for name, expected in manifest["files"].items():
        path = folder / name
        if not path.is_file():
            raise BadWeights(f"{folder}: {name} is in {MANIFEST} but not in the folder")
        if path.stat().st_size != expected["bytes"] or _sha256(path) != expected["sha256"]:
            raise BadWeights(f"{folder}: {name} is not the file that {MANIFEST} describes")
    return str(manifest["weight_hash"])


def load_parts(folder: Path, device: torch.device, dtype: torch.dtype) -> Parts:
    """Load every network for inference; raises BadWeights with the file and key that is wrong."""
    weight_hash = check_manifest(folder)
    spec = read_spec(folder)
    scheduler = _read_json(folder / "scheduler" / "scheduler_config.json")
    schedule = _schedule(scheduler, folder)
    unet = UNet2DConditionModel.from_pretrained(folder / "unet", torch_dtype=dtype).to(device).eval()
    with torch.device("meta"):
        main, appearnet = InflatedUNet(spec.unet), AppearNet(spec.unet)
    added = load_file(folder / "temporal" / WEIGHTS, device=str(device))
    _fill(main, unet.state_dict() | {k: v.to(dtype) for k, v in added.items()}, folder / "temporal")
    own = load_file(folder / "appearnet" / WEIGHTS, device=str(device))
    _fill(appearnet, {k: v.to(dtype) for k, v in own.items()}, folder / "appearnet")
    return Parts(
        spec=spec,
        weight_hash=weight_hash,
        unet=unet,
        main=main.eval().requires_grad_(False),
        appearnet=appearnet.eval().requires_grad_(False),
        vae=AutoencoderKL.from_pretrained(folder / "vae", torch_dtype=dtype).to(device).eval(),
        text_encoder=CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=dtype).to(device).eval(),
        tokenizer=CLIPTokenizer.from_pretrained(folder / "tokenizer"),
        schedule=schedule,
    )


def read_spec(folder: Path) -> CinemaSpec:
    """The CinemaSpec that the folder was saved with."""
    raw = _read_json(folder / "cinema.json")
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


def _schedule(config: dict[str, Any], folder: Path) -> Schedule:
    """What is not our schedule must not be rendered with it: the pictures would be wrong, not broken."""
    for name, known in (("prediction_type", "epsilon"), ("beta_schedule", "scaled_linear")):
        if config.get(name, known) != known:
            raise BadWeights(f"{folder}: scheduler {name} {config[name]!r} is not supported, only {known!r}")
    try:
        return Schedule(config["beta_start"], config["beta_end"], config["num_train_timesteps"])
    except KeyError as error:
        raise BadWeights(f"{folder}: scheduler_config.json has no {error}") from error


def _fill(net: torch.nn.Module, state: dict[str, Tensor], origin: Path) -> None:
    """Put tensors in place of the meta parameters without copying: shared tensors stay shared."""
    try:
        net.load_state_dict(state, strict=True, assign=True)
    except RuntimeError as error:
        raise BadWeights(f"{origin}: {error}") from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise BadWeights(f"{path} is missing: not a MicroCinema weights folder") from error
    except json.JSONDecodeError as error:
        raise BadWeights(f"{path}: {error}") from error
    return content


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
