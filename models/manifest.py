"""manifest.json: size and sha256 of every file of a model folder, and one hash that names the weights.

    python -m models.manifest FOLDER      # write it, before a folder is put into a bucket

Torch-free, because whoever fetches a folder checks it before torch is imported.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.errors import BadWeights

MANIFEST = "manifest.json"
HASHED = {".safetensors", ".json", ".txt", ".model"}

# Letters, digits and _.- between slashes: a manifest from a bucket must not name a file outside its folder.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*(/[A-Za-z0-9_][A-Za-z0-9_.+-]*)*\Z")
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")


@dataclass(frozen=True)
class ListedFile:
    """One file of a model: path below the folder with slashes, size, sha256 in lower-case hex."""

    name: str
    bytes: int
    sha256: str

    def is_at(self, path: Path) -> bool:
        """Does `path` hold exactly this file? Reads all of it when the size fits."""
        return path.is_file() and path.stat().st_size == self.bytes and sha256_of(path) == self.sha256


@dataclass(frozen=True)
class Manifest:
    """What manifest.json says."""

    weight_hash: str
    files: tuple[ListedFile, ...]


def write_manifest(folder: Path) -> str:
    """Record size and sha256 of every weight and config file; returns the weight hash."""
    files = tuple(
        ListedFile(path.relative_to(folder).as_posix(), path.stat().st_size, sha256_of(path))
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix in HASHED and path.name != MANIFEST
    )
    if not files:
        raise BadWeights(f"{folder}: there is no {', '.join(sorted(HASHED))} file in it")
    digest = _weight_hash(files)
    listed = {file.name: {"bytes": file.bytes, "sha256": file.sha256} for file in files}
    (folder / MANIFEST).write_text(json.dumps({"weight_hash": digest, "files": listed}, indent=1) + "\n")
    return digest


def parse_manifest(text: str | bytes, origin: str) -> Manifest:
    """A manifest from its JSON; raises BadWeights, with `origin` in front, for anything it should not say."""
    try:
        raw = json.loads(text)
        files = tuple(
            ListedFile(str(name), int(entry["bytes"]), str(entry["sha256"]))
            for name, entry in raw["files"].items()
        )
        weight_hash = str(raw["weight_hash"])
    except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        raise BadWeights(f"{origin} is not a manifest: {type(error).__name__} {error}") from error
    for file in files:
        if not _NAME.match(file.name) or not _SHA256.match(file.sha256) or file.bytes < 0:
            raise BadWeights(f"{origin}: the entry {file.name!r} is not a file name with size and sha256")
    if weight_hash != _weight_hash(files):
        raise BadWeights(f"{origin}: weight_hash {weight_hash!r} does not follow from the files listed")
    return Manifest(weight_hash, files)


def check_manifest(folder: Path) -> str:
    """Compare every file with the manifest; returns the weight hash or raises BadWeights naming the file.

    Weights that it does not list are refused: a loader might take them, and the hash would name others.
    """
    path = folder / MANIFEST
    try:
        manifest = parse_manifest(path.read_text(), str(path))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise BadWeights(f"{path} is missing: not a MicroCinema weights folder") from error
    for file in manifest.files:
        if not (folder / file.name).is_file():
            raise BadWeights(f"{folder}: {file.name} is in {MANIFEST} but not in the folder")
        if not file.is_at(folder / file.name):
            raise BadWeights(f"{folder}: {file.name} is not the file that {MANIFEST} describes")
    listed = {file.name for file in manifest.files}
    for path in sorted(folder.rglob("*.safetensors")):
        if path.relative_to(folder).as_posix() not in listed:
            raise BadWeights(f"{path} is not in {MANIFEST}: delete it, or write the manifest again")
    return manifest.weight_hash


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a model folder; raises BadWeights naming the file."""
    try:
        content: Any = json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise BadWeights(f"{path} is missing: the folder is not a complete model") from error
    except ValueError as error:
        raise BadWeights(f"{path}: {error}") from error
    if not isinstance(content, dict):
        raise BadWeights(f"{path}: expected a JSON object, found {type(content).__name__}")
    return content


def sha256_of(path: Path) -> str:
    """sha256 of a file in lower-case hex, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _weight_hash(files: Sequence[ListedFile]) -> str:
    return hashlib.sha256("".join(f"{file.name} {file.sha256}\n" for file in files).encode()).hexdigest()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Write manifest.json into a model folder.")
    parser.add_argument("folder", type=Path)
    try:
        sys.stdout.write(write_manifest(parser.parse_args().folder) + "\n")
    except BadWeights as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
