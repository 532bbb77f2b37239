"""An object's bytes, kept aside in a file without a name."""

from __future__ import annotations

import hashlib
import io
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO


class KeptDamaged(Exception):
    """A kept file does not hold any more what was put into it."""


@dataclass(frozen=True, eq=False)
class Kept:
    """`size` bytes for the object `name` of an attempt; `sha256` is their checksum in hex."""

    name: str
    content_type: str
    size: int
    sha256: str
    file: IO[bytes] = field(repr=False)

    def body(self) -> bytes:
        """The bytes. Raises KeptDamaged if they are not those that were put in, and OSError."""
        self.file.seek(0)
        body = self.file.read()
        if hashlib.sha256(body).hexdigest() != self.sha256:
            raise KeptDamaged(f"{self.name} came back from the spool's folder otherwise than it went in")
        return body

    def forget(self) -> None:
        """Free the room."""
        self.file.close()


def keep_on_disk(folder: Path, name: str, content_type: str, body: bytes) -> Kept:
    """`body` in a file that has no name in `folder` (O_TMPFILE, or unlinked at once).

    Nobody else finds it, and the kernel forgets it together with the process, however that ends. Raises
    OSError if the folder cannot be made or takes no more.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - it is open for as long as the video waits
    try:
        file.write(body)
        file.flush()
    except BaseException:
        file.close()
        raise
    return Kept(name, content_type, len(body), hashlib.sha256(body).hexdigest(), file)


def free_bytes(folder: Path) -> int:
    """What the disk under `folder`, which may not be there yet, can still take."""
    there = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    return shutil.disk_usage(there).free


def keep_in_memory(name: str, content_type: str, body: bytes) -> Kept:
    """The same without a disk."""
    return Kept(name, content_type, len(body), hashlib.sha256(body).hexdigest(), io.BytesIO(body))
