"""Tensors in safetensors files: read one at a time, written in shards. Nothing is ever unpickled.

A file is mapped, one tensor after the other is copied out of it to the target device and number format, and
the mapping is given back every few megabytes: beside the finished network the host never holds more than
those and the largest tensor. The copies are ours, so a file that is replaced under a running worker does not
change its weights.

Shards and their index are named as diffusers and transformers name them, so that both can read them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from models.errors import BadWeights
from models.manifest import read_json

WEIGHTS_STEM = "diffusion_pytorch_model"  # as diffusers names a component's file
TEXT_STEM = "model"  # as transformers does
SHARD_BYTES = 5_000_000_000
MAPPED_BYTES = 4_000_000  # read through one mapping before it is given back: far under what a network weighs
_PICKLED = {".bin", ".ckpt", ".pt", ".pth", ".pkl", ".pickle"}


@dataclass(frozen=True)
class Place:
    """Where a parameter is stored: the tensor's name and, when three share it, which third of its rows.

    `squeezed`: the file may keep a linear layer as a 1x1 convolution; the trailing ones are dropped.
    """

    key: str
    third: int | None = None
    squeezed: bool = False


Places = Callable[[str], Iterable[Place]]
"""Parameter name -> where it may be stored, best first."""


class StoredTensors:
    """The tensors of one component. Opening reads the headers only."""

    def __init__(self, files: Iterable[Path], origin: Path) -> None:
        self.origin = origin
        self.metadata: dict[str, str] = {}
        self._file: dict[str, Path] = {}
        self._shape: dict[str, tuple[int, ...]] = {}
        self._mapped: tuple[Path, Any] | None = None
        self._touched = 0
        for path in files:
            with _opened(path) as file:
                self.metadata |= file.metadata() or {}
                for key in file.keys():  # noqa: SIM118  safe_open is no mapping
                    self._file[key] = path
                    self._shape[key] = tuple(file.get_slice(key).get_shape())

    @classmethod
    def of_file(cls, path: Path) -> StoredTensors:
        """One .safetensors file; anything that would have to be unpickled is refused by its name."""
        if path.suffix in _PICKLED:
            raise BadWeights(
                f"{path} is a pickle, which can run code while it is read: convert it to .safetensors"
            )
        if path.suffix != ".safetensors":
            raise BadWeights(f"{path}: expected a .safetensors file")
        return cls([path], path)

    @classmethod
    def of_component(cls, folder: Path, stem: str = WEIGHTS_STEM) -> StoredTensors:
        """A component's folder: one file, or shards behind an index; if there is none, its fp16 variant."""
        refuse_pickles(folder)
        for name, index in (
            (f"{stem}.safetensors", f"{stem}.safetensors.index.json"),
            (f"{stem}.fp16.safetensors", f"{stem}.safetensors.index.fp16.json"),
        ):
            if (folder / name).is_file():
                return cls([folder / name], folder)
            if (folder / index).is_file():
                return cls._sharded(folder, folder / index)
        raise BadWeights(f"{folder}: there is neither {stem}.safetensors nor its index for shards")

    @classmethod
    def _sharded(cls, folder: Path, index: Path) -> StoredTensors:
        listed = read_json(index).get("weight_map")
        if not isinstance(listed, dict) or not all(Path(str(v)).name == v for v in listed.values()):
            raise BadWeights(f"{index}: weight_map must map tensor names to files of this folder")
        found = cls([folder / name for name in sorted(set(listed.values()))], folder)
        wrong = [key for key, name in listed.items() if found._file.get(key) != folder / name]
        if wrong or len(found._file) != len(listed):
            astray = (wrong or sorted(set(found._file) - set(listed)))[0]
            raise BadWeights(f"{index}: tensor {astray!r} is not where the index says")
        return found

    def __contains__(self, key: str) -> bool:
        return key in self._shape

    def __iter__(self) -> Iterator[str]:
        return iter(self._shape)

    def shape(self, key: str) -> tuple[int, ...]:
        """Of a tensor that is here."""
        return self._shape[key]

    def read(self, key: str, device: torch.device, dtype: torch.dtype) -> Tensor:
        """One tensor, on `device`; floating point becomes `dtype`, integers stay what they are."""
        tensor: Tensor = self._mapping(self._file[key]).get_tensor(key)
        self._touched += tensor.nbytes
        wanted = dtype if tensor.is_floating_point() else tensor.dtype
        return tensor.to(device, wanted, copy=True)

    def _mapping(self, path: Path) -> Any:
        """The file of the last read, as long as little was read from it: what is mapped counts as memory.

        A file is not opened for each of its tensors, because opening reads the names of them all.
        """
        if self._mapped is None or path != self._mapped[0] or self._touched >= MAPPED_BYTES:
            self._mapped, self._touched = None, 0  # the old mapping is given back before there is a new one
            self._mapped = path, _opened(path)
        return self._mapped[1]


def _opened(path: Path) -> safe_open:
    try:
        return safe_open(path, framework="pt", device="cpu")
    except (SafetensorError, OSError) as error:
        raise BadWeights(f"{path} cannot be read as safetensors: {error}") from error


def refuse_pickles(folder: Path) -> None:
    """Raise BadWeights for a pickled file in this folder, whether or not safetensors stand beside it.

    Which of the two a loader takes must not be a matter of its defaults.
    """
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.suffix in _PICKLED:
            raise BadWeights(
                f"{path} is a pickle, which can run code while it is read: delete it if the same weights "
                "stand beside it as .safetensors, else convert it"
            )


def same_name(name: str) -> Iterable[Place]:
    """Stored under the parameter's own name."""
    return (Place(name),)


def read_state(
    network: Mapping[str, Tensor],
    stored: StoredTensors,
    device: torch.device,
    dtype: torch.dtype,
    places: Places = same_name,
) -> tuple[dict[str, Tensor], set[str]]:
    """Every parameter of a `network` (its state dict, empty), from `stored`; also the stored names used.

    Raises BadWeights: for parameters that are stored nowhere, or with both shapes for one that does not fit.
    """
    wanted = {name: tuple(value.shape) for name, value in network.items()}
    found: dict[str, Place] = {}
    for name in wanted:
        place = next((place for place in places(name) if place.key in stored), None)
        if place is not None:
            found[name] = place
    missing = [name for name in wanted if name not in found]
    if missing:
        sought = ", ".join(repr(place.key) for place in places(missing[0]))
        raise BadWeights(
            f"{stored.origin}: {len(missing)} of {len(wanted)} parameters are missing, the first is "
            f"{missing[0]!r} (looked for {sought})"
        )
    state = {}
    for name, place in found.items():
        if _offered_shape(stored.shape(place.key), place) != wanted[name]:
            raise BadWeights(
                f"{stored.origin}: {place.key!r} has shape {stored.shape(place.key)}, {name!r} needs "
                f"{wanted[name]}" + ("" if place.third is None else " in each third of its rows")
            )
        tensor = stored.read(place.key, device, dtype)
        if place.third is not None:
            tensor = tensor.chunk(3)[place.third].clone()
        state[name] = tensor.reshape(wanted[name])
    return state, {place.key for place in found.values()}


def refuse_strange(origin: Path, keys: list[str]) -> None:
    """Raise BadWeights that names tensors which no parameter took, if there are any."""
    if keys:
        more = f" and {len(keys) - 4} more" if len(keys) > 4 else ""
        raise BadWeights(
            f"{origin}: no parameter takes {', '.join(map(repr, keys[:4]))}{more}: another architecture"
        )


def _offered_shape(shape: tuple[int, ...], place: Place) -> tuple[int, ...]:
    if place.third is not None and shape and shape[0] % 3 == 0:
        shape = (shape[0] // 3, *shape[1:])
    if place.squeezed:
        while len(shape) > 2 and shape[-1] == 1:
            shape = shape[:-1]
    return shape


def assign(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Put tensors in place of the parameters without copying: tensors shared before stay shared."""
    network.load_state_dict(state, strict=True, assign=True)


def write_tensors(
    folder: Path,
    state: Mapping[str, Tensor],
    dtype: torch.dtype,
    *,
    stem: str = WEIGHTS_STEM,
    shard_bytes: int = SHARD_BYTES,
) -> None:
    """Write a component's tensors in `dtype`: one file, or shards of at most `shard_bytes` and their index.

    A tensor larger than a shard gets one of its own.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shards: list[list[str]] = [[]]
    filled = total = 0
    for key, value in state.items():
        size = value.numel() * dtype.itemsize
        if shards[-1] and filled + size > shard_bytes:
            shards.append([])
            filled = 0
        shards[-1].append(key)
        filled += size
        total += size
    many = len(shards) > 1
    weight_map: dict[str, str] = {}
    for number, keys in enumerate(shards, start=1):
        name = f"{stem}-{number:05}-of-{len(shards):05}.safetensors" if many else f"{stem}.safetensors"
        part = {key: state[key].detach().to("cpu", dtype).contiguous() for key in keys}
        save_file(part, folder / name, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(keys, name)
    if many:
        index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
        (folder / f"{stem}.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")
