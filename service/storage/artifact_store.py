"""What the service asks of a place that keeps artifacts, and the ways in which it may fail."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

MAX_KEY_CHARS = 512
CHUNK_BYTES = 256 * 1024

# Every part starts with a letter, a digit or "_": that alone rules out "", ".", ".." and hidden files.
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*\Z")
_FILENAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}\Z")


class StorageError(Exception):
    """A store could not do what it was asked; the text is one sentence for a log or a Failure."""


class ArtifactMissing(StorageError):
    """No object has this key."""

    def __init__(self, key: str) -> None:
        super().__init__(f"no artifact has the key {key!r}")
        self.key = key


class RangeOutside(StorageError):
    """The asked bytes lie outside the object (HTTP would say 416)."""

    def __init__(self, key: str, start: int, end: int | None) -> None:
        super().__init__(f"bytes {start} to {'the end' if end is None else end} lie outside of {key!r}")
        self.key, self.start, self.end = key, start, end


class StorageUnavailable(StorageError):
    """The place behind the store is away, full or refuses us: the same call may work later."""


class InvalidKey(ValueError):
    """The key is not one that this service would ever make; nothing was read or written."""


@dataclass(frozen=True)
class StoredObject:
    """What a store knows of one object.

    `sha256` is the checksum of the whole body in lower-case hex. It is None only for an object that came
    from a listing, or one that another program wrote to S3 without our metadata.
    `modified` is in Unix seconds, by the clock of the store.
    """

    key: str
    bytes: int
    sha256: str | None
    modified: float


class ArtifactStore(Protocol):
    """Blocking and safe to share between threads; an event loop calls it through a thread.

    Every method may raise StorageUnavailable, and InvalidKey for a key outside of `check_key`.
    """

    def put(self, key: str, body: bytes, content_type: str) -> StoredObject:
        """Stores the whole body, or nothing. A repeat with the same key replaces the object."""
        ...

    def read(self, key: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """The bytes [start, end), half-open like a slice; an end past the last byte is cut to it.

        Raises ArtifactMissing or RangeOutside at the call, before the first chunk.
        """
        ...

    def head(self, key: str) -> StoredObject:
        """Raises ArtifactMissing."""
        ...

    def delete(self, key: str) -> None:
        """Idempotent: a key that is not there is no error."""
        ...

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """Every object whose key starts with the prefix, in an unspecified order; "" lists them all."""
        ...

    def link(self, key: str, expires_s: int, filename: str | None = None) -> str:
        """A URL that anyone may GET until `expires_s` seconds from now; it asks nothing of the store.

        `filename` (letters, digits, `_.-`) makes browsers save the object under that name.
        """
        ...

    def check(self) -> None:
        """Returns if objects can be stored now; a readiness probe."""
        ...


def check_key(key: str) -> str:
    """The key itself, if it is `part/part/...` of letters, digits and `_.+-`; else InvalidKey."""
    if len(key) > MAX_KEY_CHARS:
        raise InvalidKey(f"artifact key has {len(key)} characters, at most {MAX_KEY_CHARS} are allowed")
    if not all(_PART.match(part) for part in key.split("/")):
        raise InvalidKey(
            f"artifact key {key!r} may hold only parts of letters, digits and _.+- between slashes"
        )
    return key


def check_prefix(prefix: str) -> str:
    """The prefix itself, if some valid key can start with it; else InvalidKey."""
    if prefix:
        check_key(prefix.removesuffix("/"))
    return prefix


def check_range(start: int, end: int | None) -> None:
    """ValueError unless 0 <= start and, if there is an end, start < end."""
    if start < 0 or (end is not None and end <= start):
        raise ValueError(f"byte range [{start}, {end}) is empty or negative")


def check_filename(filename: str) -> str:
    """The name itself, if it needs no quoting in a header; else ValueError."""
    if not _FILENAME.match(filename):
        raise ValueError(f"filename {filename!r} may hold only letters, digits and _.- (at most 128)")
    return filename
