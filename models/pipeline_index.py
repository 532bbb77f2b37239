"""What a public pipeline's folder may name: components of diffusers and transformers, and nothing else.

diffusers imports whatever module an entry of model_index.json names, and transformers fetches code that a
config names. So every name is looked up here first, in a short list of libraries and kinds, before anything
of the folder is loaded. Not listed means refused, by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from models.errors import BadWeights
from models.manifest import read_json

INDEX = "model_index.json"

# Keys of a component's config that make a library run code from elsewhere.
_FOREIGN_CODE = ("auto_map", "custom_pipeline", "custom_pipelines", "trust_remote_code")
# A value with a slash names a kernel on the hub, which is code.
_ATTENTION = ("attn_implementation", "_attn_implementation", "_attn_implementation_internal")


# Each library is imported with the first folder that names it: a MicroCinema starts without.


def _of_diffusers(name: str) -> bool:
    import diffusers
    from diffusers.configuration_utils import ConfigMixin

    kind = getattr(diffusers, name, None)
    if not isinstance(kind, type) or issubclass(kind, diffusers.DiffusionPipeline):
        return False
    return issubclass(kind, ConfigMixin)


def _of_transformers(name: str) -> bool:
    import transformers
    from transformers.image_processing_base import ImageProcessingMixin

    kinds = (
        transformers.PreTrainedModel,
        transformers.PreTrainedTokenizerBase,
        transformers.FeatureExtractionMixin,
        transformers.ProcessorMixin,
        ImageProcessingMixin,
    )
    kind = getattr(transformers, name, None)
    return isinstance(kind, type) and issubclass(kind, kinds)


#: Library -> whether it has a component of this name. `stable_diffusion` is how old folders name the safety
#: checker that lives in diffusers.
LIBRARIES: Mapping[str, Callable[[str], bool]] = MappingProxyType(
    {
        "diffusers": _of_diffusers,
        "transformers": _of_transformers,
        "stable_diffusion": lambda name: name == "StableDiffusionSafetyChecker",
    }
)


def check_index(folder: Path) -> None:
    """Raises BadWeights, naming entry and bound, for a folder that names anything but known components."""
    for part, origin in read_json(folder / INDEX).items():
        if isinstance(origin, list):
            _check_entry(folder, part, origin)
        elif part in _FOREIGN_CODE:
            raise _code(folder / INDEX, part, origin)
    for path in sorted(folder.glob("*/*config.json")):
        _check_config(path)


def _check_entry(folder: Path, part: str, origin: list[Any]) -> None:
    """`part`: the component's name and its subfolder. `origin`: [library, class], or two nulls: left out."""
    if origin == [None, None]:
        return
    if not part.isidentifier():
        raise BadWeights(f"{folder}: {INDEX} names a component {part!r}: no name of a folder in it")
    if len(origin) != 2 or not all(isinstance(word, str) for word in origin):
        raise BadWeights(f"{folder}: {INDEX} {part} must be [library, class], got {origin!r}")
    library, name = origin
    if library not in LIBRARIES:
        raise BadWeights(
            f"{folder}: {INDEX} {part} is of the library {library!r}: only components of "
            f"{', '.join(LIBRARIES)} are loaded"
        )
    if not LIBRARIES[library](name):
        raise BadWeights(
            f"{folder}: {INDEX} {part} is {name!r} of {library}: no model, scheduler or tokenizer there"
        )


def _check_config(path: Path) -> None:
    config = read_json(path)
    for key in _FOREIGN_CODE:
        if config.get(key):
            raise _code(path, key, config[key])
    for key in _ATTENTION:
        if "/" in str(config.get(key, "")):
            raise _code(path, key, config[key])


def _code(path: Path, key: str, value: object) -> BadWeights:
    return BadWeights(f"{path}: {key} {value!r} asks for code from elsewhere")
