"""A public pipeline's folder: what it is, which weights it holds, how it is loaded without trusting it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from models.errors import BadWeights
from models.manifest import HASHED, MANIFEST, check_manifest, read_json, sha256_of
from models.precision import network_dtype

INDEX = "model_index.json"


def pipeline_class(folder: Path) -> str:
    """`_class_name` of the folder's model_index.json. Raises BadWeights if it is no pipeline's folder."""
    name = read_json(folder / INDEX).get("_class_name")
    if not isinstance(name, str):
        raise BadWeights(f"{folder / INDEX}: _class_name {name!r} does not name a pipeline of diffusers")
    return name


def scheduler_config(folder: Path) -> dict[str, Any]:
    """The scheduler's config; empty if the pipeline has none."""
    path = folder / "scheduler" / "scheduler_config.json"
    return read_json(path) if path.is_file() else {}


def weight_hash(folder: Path) -> str:
    """Names the exact weights: the manifest's hash, checked, or the same computed now from every file."""
    if (folder / MANIFEST).is_file():
        return check_manifest(folder)
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix in HASHED)
    lines = [f"{path.relative_to(folder).as_posix()} {sha256_of(path)}\n" for path in files]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def pipeline_dtype(folder: Path, device: torch.device) -> torch.dtype:
    """One format for all components, for pipelines hand tensors from one to the next without casting.

    bf16 if any component asks for it: what is published in bf16 may overflow fp16, never the other way
    round. A CPU runs float32.
    """
    configs = [read_json(path) for path in sorted(folder.glob("*/config.json"))]
    if torch.bfloat16 in {network_dtype(device, config) for config in configs}:
        return torch.bfloat16
    return network_dtype(device)


def load_pipeline(
    from_pretrained: Callable[..., Any],
    folder: Path,
    device: torch.device,
    float32_parts: tuple[str, ...] = (),
) -> Any:
    """The pipeline on `device`, by a diffusers class's `from_pretrained`, from safetensors and JSON alone.

    Raises BadWeights for what is missing or does not fit, for weights that are only there as pickles, and
    for a folder that brings Python code of its own, before anything of it runs.
    """
    code = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.py"))
    if code:
        raise BadWeights(f"{folder} brings program code ({code[0]}): only weights and JSON are loaded")
    for part, origin in read_json(folder / INDEX).items():
        if isinstance(origin, list) and None not in origin and not (folder / part).is_dir():
            raise BadWeights(f"{folder}: {INDEX} names {part}, but there is no such folder")
    dtype: Any = pipeline_dtype(folder, device)
    if float32_parts:
        dtype = {"default": dtype, **dict.fromkeys(float32_parts, torch.float32)}
    try:
        pipeline = from_pretrained(
            folder, torch_dtype=dtype, variant=_variant(folder), use_safetensors=True, local_files_only=True
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise BadWeights(f"{folder}: {type(error).__name__}: {error}") from error
    return pipeline.to(device)


def _variant(folder: Path) -> str | None:
    """ "fp16" if a component is there in half precision only: diffusers must be told of such names."""
    for component in folder.iterdir():
        names = [path.name for path in component.glob("*.safetensors")]
        if names and all(".fp16" in name for name in names):
            return "fp16"
    return None
