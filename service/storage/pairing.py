"""A record and its storage belong together: both carry one mark, and no part works beside another's storage.

A worker that stores into one folder while the gateway reads another would end jobs whose videos nobody finds.
A janitor in somebody else's bucket would take every object there for one that no record names.
"""

import secrets
import time
from collections.abc import Callable, Iterator
from threading import Lock
from typing import Protocol

from service.storage.artifact_store import ArtifactStore, StorageUnavailable, StoredObject

#: Another process may have marked the record and be about to mark the storage.
PATIENCE_S = 5.0
_LOOK_EVERY_S = 0.2


class OtherStorage(StorageUnavailable):
    """This storage is not the one that the record knows; nothing is stored in it."""


class Marked(Protocol):
    """What can carry a mark and keeps it for good."""

    def mark(self) -> str | None:
        """The mark that it carries; None: none yet."""
        ...

    def set_mark(self, mark: str) -> None:
        """Lets it carry this mark unless it carries one."""
        ...

    def forget_mark(self) -> None:
        """For an operator who knows better: the next mark is another."""
        ...


class MarkedStore(ArtifactStore, Marked, Protocol):
    """A storage that can be paired."""


def pair(
    storage: Marked,
    record: Marked,
    *,
    new_mark: Callable[[], str] = lambda: secrets.token_hex(8),
    pause: Callable[[float], object] = time.sleep,
) -> None:
    """Returns if both carry the same mark; two that carry none get one. Raises OtherStorage.

    The record comes first: of processes that start together one marks it, and all mark the storage alike.
    """
    known, found = record.mark(), storage.mark()
    if known is None and found is None:
        record.set_mark(new_mark())
        known = record.mark()
        assert known is not None
        storage.set_mark(known)
        found = storage.mark()
    waited_s = 0.0
    while found is None and waited_s < PATIENCE_S:
        pause(_LOOK_EVERY_S)
        waited_s += _LOOK_EVERY_S
        found = storage.mark()
    if found != known:
        raise OtherStorage(
            f"this storage carries {_shown(found)}, the record in Redis {_shown(known)}: they do not belong "
            "together. Name or mount the right one; `microcinema storage adopt` takes this one all the same"
        )


class PairedStore:
    """`storage`, but nothing is stored in it or found fit for storing before `prove` has returned once."""

    def __init__(self, storage: ArtifactStore, prove: Callable[[], None]) -> None:
        self._storage, self._prove = storage, prove
        self._proved, self._lock = False, Lock()

    def put(self, key: str, body: bytes, content_type: str) -> StoredObject:
        self._prove_once()
        return self._storage.put(key, body, content_type)

    def check(self) -> None:
        self._prove_once()
        self._storage.check()

    def read(self, key: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        return self._storage.read(key, start, end)

    def head(self, key: str) -> StoredObject:
        return self._storage.head(key)

    def delete(self, key: str) -> None:
        self._prove_once()
        self._storage.delete(key)

    def list(self, prefix: str) -> Iterator[StoredObject]:
        return self._storage.list(prefix)

    def link(self, key: str, expires_s: int, filename: str | None = None) -> str:
        return self._storage.link(key, expires_s, filename)

    def _prove_once(self) -> None:
        with self._lock:
            if not self._proved:
                self._prove()
                self._proved = True


def look_at_start(storage: ArtifactStore) -> StorageUnavailable | None:
    """Why `storage` cannot be used now; None: it can. Raises OtherStorage, which waiting would not mend."""
    try:
        storage.check()
    except OtherStorage:
        raise
    except StorageUnavailable as away:
        return away
    return None


def _shown(mark: str | None) -> str:
    return "no mark" if mark is None else f"the mark {mark!r}"
