"""A public pipeline's folder: what it is, which weights it holds, how it is loaded without trusting it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from torch import nn
from transformers import PreTrainedModel

from models.errors import BadWeights
from models.manifest import HASHED, MANIFEST, check_manifest, read_json, sha256_of
from models.pipeline_index import INDEX, check_index
from models.precision import network_dtype

# ImportError: a component that asks for a package which is not installed.
_CANNOT_BE_LOADED = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    RuntimeError,
    ImportError,
    SafetensorError,
)


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
    for a folder that brings or names program code, before anything of it runs.
    """
    code = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.py"))
    if code:
        raise BadWeights(f"{folder} brings program code ({code[0]}): only weights and JSON are loaded")
    check_index(folder)
    for part, origin in read_json(folder / INDEX).items():
        if isinstance(origin, list) and None not in origin and not (folder / part).is_dir():
            raise BadWeights(f"{folder}: {INDEX} names {part}, but there is no such folder")
    inside = pipeline_dtype(folder, device)
    formats = {"default": inside, **dict.fromkeys(float32_parts, torch.float32)}
    try:
        encoders = dict(_encoders(folder, formats))
        pipeline = from_pretrained(
            folder,
            torch_dtype=formats if float32_parts else inside,
            variant=_variant(folder),
            use_safetensors=True,
            local_files_only=True,
            **encoders,
        )
    except _CANNOT_BE_LOADED as error:
        raise BadWeights(f"{folder}: {type(error).__name__}: {error}") from error
    _refuse_empty(folder, pipeline)
    return pipeline.to(device)


def _encoders(folder: Path, formats: dict[str, torch.dtype]) -> Iterator[tuple[str, PreTrainedModel]]:
    """The components that are transformers' own models, strictly.

    Loaded as part of a pipeline, a parameter that is stored nowhere would be drawn at random and mentioned in
    the log alone: every start would serve another model under the same hash.
    """
    for part, origin in read_json(folder / INDEX).items():
        if not (isinstance(origin, list) and origin[0] == "transformers"):
            continue
        kind: Any = getattr(transformers, origin[1])
        if not _has_weights(kind):
            continue  # tokenizers and image processors have no weights
        model, found = kind.from_pretrained(
            folder / part,
            dtype=formats.get(part, formats["default"]),
            variant=_variant_of(folder / part),
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
        )
        if found["missing_keys"]:
            raise _missing(folder / part, sorted(found["missing_keys"]))
        yield part, model


def _has_weights(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, PreTrainedModel)


def _refuse_empty(folder: Path, pipeline: Any) -> None:
    """diffusers leaves a parameter that is stored nowhere on the meta device, and goes on."""
    for part, component in pipeline.components.items():
        if isinstance(component, nn.Module):
            empty = [name for name, weight in component.state_dict().items() if weight.is_meta]
            if empty:
                raise _missing(folder / part, empty)


def _missing(component: Path, names: list[str]) -> BadWeights:
    return BadWeights(f"{component}: {len(names)} parameters are stored nowhere, the first is {names[0]!r}")


def _variant(folder: Path) -> str | None:
    """ "fp16" if a component is there in half precision only: diffusers must be told of such names."""
    return next(filter(None, map(_variant_of, sorted(folder.iterdir()))), None)


def _variant_of(component: Path) -> str | None:
    names = [path.name for path in component.glob("*.safetensors")]
    return "fp16" if names and all(".fp16" in name for name in names) else None
