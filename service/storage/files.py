"""Artifacts in a local folder: the embedded default, and all that one machine needs.

Each object is one plain file at its key, nothing beside it, so any program can look at the folder.
A file appears whole or not at all: it is written aside, synced, and renamed into place.
"""

import errno
import hashlib
import os
import secrets
import time
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import chain
from pathlib import Path

from service.storage.artifact_store import (
    CHUNK_BYTES,
    ArtifactMissing,
    RangeOutside,
    StorageUnavailable,
    StoredObject,
    check_key,
    check_prefix,
    check_range,
)
from service.storage.links import LinkSigner

# Keys never start with a dot, so nothing under this name can be mistaken for an object.
WRITING, MARK = ".writing", ".mark"
_ABANDONED_S = 3600.0
_CHANCES = 50
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
# A part of the path is a file where a folder should be, or the other way round: no object has such a key.
_NO_SUCH = (FileNotFoundError, NotADirectoryError, IsADirectoryError)


class FileStore:
    """An ArtifactStore below `root`, shared by every process that can see that folder."""

    def __init__(self, root: Path, signer: LinkSigner) -> None:
        self.root = root
        self.signer = signer
        self._writing = root / WRITING
        # No file changes in place: path, inode, mtime and size name one body, and it is hashed once.
        self._sha256 = lru_cache(maxsize=4096)(_sha256_of_version)
        try:
            self._writing.mkdir(parents=True, exist_ok=True)
            self._forget_unfinished(time.time() - _ABANDONED_S)
        except OSError as problem:
            raise self._unavailable(problem) from problem

    def put(self, key: str, body: bytes, content_type: str) -> StoredObject:  # noqa: ARG002 - the key's suffix says it
        path = self.root / check_key(key)
        aside = self._writing / secrets.token_hex(16)
        try:
            try:
                _write_synced(aside, body)
                modified = aside.stat().st_mtime
                self._move_into_place(aside, path)
            finally:
                aside.unlink(missing_ok=True)
        except OSError as problem:
            raise self._unavailable(problem, len(body)) from problem
        return StoredObject(key, len(body), hashlib.sha256(body).hexdigest(), modified)

    def read(self, key: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        check_range(start, end)
        chunks = self._chunks(self.root / check_key(key), key, start, end)
        # The first chunk is read here, so that every error comes at the call.
        return chain([next(chunks, b"")], chunks)

    def head(self, key: str) -> StoredObject:
        path = self.root / check_key(key)
        try:
            status = path.stat()
            digest = self._sha256(path, status.st_ino, status.st_mtime_ns, status.st_size)
        except _NO_SUCH as problem:
            self._must_be_here(problem)
            raise ArtifactMissing(key) from None
        except OSError as problem:
            raise self._unavailable(problem) from problem
        return StoredObject(key, status.st_size, digest, status.st_mtime)

    def delete(self, key: str) -> None:
        path = self.root / check_key(key)
        try:
            path.unlink()
        except _NO_SUCH as problem:
            self._must_be_here(problem)
            return
        except OSError as problem:
            raise self._unavailable(problem) from problem
        self._prune(path.parent)

    def list(self, prefix: str) -> Iterator[StoredObject]:
        base = self.root / check_prefix(prefix).rpartition("/")[0]
        try:
            for folder, subfolders, names in os.walk(base, onerror=_unless_gone):
                subfolders[:] = _shown(subfolders)
                for name in _shown(names):
                    path = Path(folder, name)
                    key = path.relative_to(self.root).as_posix()
                    if key.startswith(prefix) and (found := _listed(key, path)):
                        yield found
            if not self._writing.is_dir():
                raise FileNotFoundError(errno.ENOENT, "it is not there")
        except OSError as problem:
            raise self._unavailable(problem) from problem

    def link(self, key: str, expires_s: int, filename: str | None = None) -> str:
        return self.signer.link(key, expires_s, filename)

    def mark(self) -> str | None:
        try:
            return (self.root / MARK).read_text().strip() or None
        except FileNotFoundError as problem:
            self._must_be_here(problem)
            return None
        except OSError as problem:
            raise self._unavailable(problem) from problem

    def set_mark(self, mark: str) -> None:
        aside = self._writing / secrets.token_hex(16)
        try:
            try:
                _write_synced(aside, mark.encode())
                os.link(aside, self.root / MARK)  # link, unlike rename, replaces none
            except FileExistsError:
                pass
            finally:
                aside.unlink(missing_ok=True)
            _sync_folder(self.root)
        except OSError as problem:
            raise self._unavailable(problem) from problem

    def forget_mark(self) -> None:
        try:
            (self.root / MARK).unlink(missing_ok=True)
        except OSError as problem:
            raise self._unavailable(problem) from problem

    def check(self) -> None:
        probe = self._writing / secrets.token_hex(16)
        try:
            probe.write_bytes(b"ready?")
            probe.unlink()
        except OSError as problem:
            raise self._unavailable(problem) from problem

    def _chunks(self, path: Path, key: str, start: int, end: int | None) -> Iterator[bytes]:
        try:
            with path.open("rb") as body:
                size = os.fstat(body.fileno()).st_size
                if start > 0 and start >= size:
                    raise RangeOutside(key, start, end)
                body.seek(start)
                left = min(size, end if end is not None else size) - start
                while left > 0 and (chunk := body.read(min(CHUNK_BYTES, left))):
                    left -= len(chunk)
                    yield chunk
        except _NO_SUCH as problem:
            self._must_be_here(problem)
            raise ArtifactMissing(key) from None
        except OSError as problem:
            raise self._unavailable(problem) from problem

    def _move_into_place(self, aside: Path, path: Path) -> None:
        for chances in reversed(range(_CHANCES)):
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                aside.replace(path)
                break
            except (FileNotFoundError, FileExistsError):
                # A delete pruned the folder, still empty, before our file was in it.
                if not chances:
                    raise
        # New names live in their folders: without these a power cut could lose the file that we promised.
        for folder in path.parents:
            _sync_folder(folder)
            if folder == self.root:
                break

    def _prune(self, folder: Path) -> None:
        """Removes folders that a delete left empty; the first that is not empty (or is gone) ends it."""
        while folder != self.root:
            try:
                folder.rmdir()
            except OSError:
                return
            folder = folder.parent

    def _forget_unfinished(self, before: float) -> None:
        for aside in self._writing.iterdir():
            try:
                if aside.stat().st_mtime < before:
                    aside.unlink()
            except FileNotFoundError:
                continue

    def _must_be_here(self, problem: OSError) -> None:
        """A bare mount point looks like a store without objects; our own folder in it tells them apart."""
        if not self._writing.is_dir():
            raise self._unavailable(problem) from problem

    def _unavailable(self, problem: OSError, size: int = 0) -> StorageUnavailable:
        if problem.errno in _FULL:
            return StorageUnavailable(f"the disk under {self.root} has no room for {size} bytes more")
        return StorageUnavailable(f"the folder {self.root} cannot be used: {problem.strerror or problem}")


def _write_synced(path: Path, body: bytes) -> None:
    with path.open("xb") as aside:
        aside.write(body)
        aside.flush()
        os.fsync(aside.fileno())


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _shown(names: Iterable[str]) -> list[str]:
    """Sorted, without ours: no part of a key starts with a dot."""
    return sorted(name for name in names if not name.startswith("."))


def _unless_gone(problem: OSError) -> None:
    """A folder that a delete pruned while we walked holds nothing; other trouble is the caller's to know."""
    if not isinstance(problem, FileNotFoundError):
        raise problem


def _listed(key: str, path: Path) -> StoredObject | None:
    """The object at this path; None if it was deleted since its folder was read."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return StoredObject(key, status.st_size, None, status.st_mtime)


def _sha256_of_version(path: Path, inode: int, mtime_ns: int, size: int) -> str:  # noqa: ARG001 - the version
    with path.open("rb") as body:
        return hashlib.file_digest(body, "sha256").hexdigest()
