"""A model folder out of an S3 bucket, file by file as its manifest lists them, each checked by sha256."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from models.errors import BadWeights
from models.manifest import MANIFEST, ListedFile, Manifest, parse_manifest
from service.storage.artifact_store import ArtifactMissing, ArtifactStore, StorageUnavailable

TRIES = 5
MANIFEST_MAX_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True)
class BucketFolder:
    """The objects below `prefix`; `address` is how the operator wrote it, for errors.

    Every method raises BadWeights for what is wrong there and StorageUnavailable for a server that is away.
    """

    store: ArtifactStore
    prefix: str
    address: str
    pause: Callable[[float], object] = time.sleep

    def manifest(self) -> tuple[Manifest, bytes]:
        """What the folder holds, and the manifest as it is stored."""
        try:
            body = bytearray()
            for chunk in self.store.read(self._key(MANIFEST)):
                body += chunk
                if len(body) > MANIFEST_MAX_BYTES:
                    raise BadWeights(f"{self.address}/{MANIFEST} is over {MANIFEST_MAX_BYTES} bytes")
        except ArtifactMissing as error:
            raise BadWeights(
                f"{self.address} has no {MANIFEST}: write it with `python -m models.manifest FOLDER` before "
                "the folder is put into the bucket"
            ) from error
        return parse_manifest(bytes(body), f"{self.address}/{MANIFEST}"), bytes(body)

    def fetch(self, manifest: Manifest, stored: bytes, folder: Path) -> None:
        """Fill `folder`. Files that are there are complete; a cut-off one is gone on with."""
        for file in manifest.files:
            target = folder / file.name
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                part = target.with_name(f"{target.name}.part")
                self._fetch_file(file, part)
                part.rename(target)
        (folder / MANIFEST).write_bytes(stored)

    def _fetch_file(self, file: ListedFile, part: Path) -> None:
        for tries_left in reversed(range(TRIES)):
            try:
                self._append(file, part)
            except StorageUnavailable:
                if not tries_left:
                    raise
                self.pause(2.0 ** (TRIES - 1 - tries_left))
                continue
            if file.is_at(part):
                return
            # What was kept of an earlier try, or what came now, is not the listed file: begin again.
            part.unlink(missing_ok=True)
        raise BadWeights(f"{self.address}/{file.name} is not the file that {MANIFEST} describes")

    def _append(self, file: ListedFile, part: Path) -> None:
        """Read what is missing at the end of `part`; never more than the manifest says."""
        try:
            with part.open("ab") as out:
                if out.tell() >= file.bytes:
                    return
                for chunk in self.store.read(self._key(file.name), out.tell()):
                    out.write(chunk)
                    if out.tell() > file.bytes:
                        return
        except ArtifactMissing as error:
            raise BadWeights(f"{self.address}/{file.name} is in {MANIFEST} but not in the bucket") from error

    def _key(self, name: str) -> str:
        return f"{self.prefix}/{name}" if self.prefix else name
