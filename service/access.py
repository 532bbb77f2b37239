"""Redis and the storage as the gateway reaches them: within a time limit, with errors made for clients."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from types import TracebackType
from typing import TypeVar

import anyio
import anyio.to_thread
from redis.exceptions import RedisError

from service.logs import get_logger
from service.refusals import (
    ContentGone,
    ContentUnavailable,
    RecordUnavailable,
    UnknownRoute,
    UnsatisfiableRange,
)
from service.storage.artifact_store import (
    ArtifactMissing,
    ArtifactStore,
    InvalidKey,
    RangeOutside,
    StorageUnavailable,
    StoredObject,
)
from service.store.errors import FULL, NewerRecord

T = TypeVar("T")

#: One request waits this long for Redis in all (seconds); a client that hangs is worse than one that retries.
RECORD_LIMIT_S = 2.5
STORAGE_LIMIT_S = 10.0

#: Calls to a dead storage keep their threads until its own time limit: they must not take everyone's.
STORAGE_THREADS = 32
SIGNING_THREADS = 4

log = get_logger(__name__)


class reaching_record:  # noqa: N801 - used as a function is: `async with reaching_record():`
    """Whatever keeps Redis from answering inside this block within `limit_s` becomes RecordUnavailable."""

    __slots__ = ("_time",)

    def __init__(self, limit_s: float = RECORD_LIMIT_S) -> None:
        self._time = asyncio.timeout(limit_s)

    async def __aenter__(self) -> None:
        await self._time.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        late: BaseException | None = None
        try:
            await self._time.__aexit__(kind, error, trace)
        except TimeoutError as told:
            late = told
        cause = late or error
        if isinstance(cause, NewerRecord):
            log.warning("record_of_newer_version", detail=str(cause))
            raise RecordUnavailable(f"{cause}: ask a gateway of the newer version") from cause
        if isinstance(cause, RedisError | OSError | TimeoutError):
            log.warning("record_unavailable", reason=type(cause).__name__, detail=str(cause))
            ails = "is full: it can keep nothing new" if isinstance(cause, FULL) else "does not answer"
            raise RecordUnavailable(f"Redis, which holds the jobs' records, {ails}") from cause


async def in_thread(call: Callable[[], T], limit_s: float, limiter: anyio.CapacityLimiter | None = None) -> T:
    """Runs a blocking call aside; TimeoutError after `limit_s` seconds, when its thread is left to itself."""
    with anyio.fail_after(limit_s):
        return await anyio.to_thread.run_sync(call, abandon_on_cancel=True, limiter=limiter)


class Shelf:
    """An ArtifactStore for an event loop. Every method may raise ContentUnavailable."""

    def __init__(self, store: ArtifactStore, limit_s: float = STORAGE_LIMIT_S) -> None:
        self._store = store
        self._limit_s = limit_s
        self._threads = anyio.CapacityLimiter(STORAGE_THREADS)
        # A link asks nothing of the storage: calls that wait for a dead one must not keep it from being made.
        self._signing = anyio.CapacityLimiter(SIGNING_THREADS)

    async def put(self, key: str, body: bytes, content_type: str) -> StoredObject:
        """Stores the whole body, or nothing."""
        return await self._call(lambda: self._store.put(key, body, content_type))

    async def head(self, key: str) -> StoredObject:
        """Raises ContentGone, and UnknownRoute for a key that this service would never make."""
        return await self._call(lambda: self._store.head(key))

    async def read(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """The bytes [start, end) in chunks. Raises ContentGone or UnsatisfiableRange before the first one."""
        chunks = await self._call(lambda: self._store.read(key, start, end))
        return self._streamed(chunks)

    async def delete(self, key: str) -> None:
        """Idempotent."""
        await self._call(lambda: self._store.delete(key))

    async def link(self, key: str, expires_s: int, filename: str) -> str:
        """A URL that anyone may GET until `expires_s` seconds from now."""
        return await self._call(lambda: self._store.link(key, expires_s, filename), self._signing)

    async def check(self) -> None:
        """Returns if objects can be stored now."""
        await self._call(self._store.check)

    async def _streamed(self, chunks: Iterator[bytes]) -> AsyncIterator[bytes]:
        while (chunk := await self._call(lambda: next(chunks, b""))) != b"":
            yield chunk

    async def _call(self, call: Callable[[], T], threads: anyio.CapacityLimiter | None = None) -> T:
        try:
            return await in_thread(call, self._limit_s, threads or self._threads)
        except ArtifactMissing as error:
            raise ContentGone("the file has been deleted") from error
        except RangeOutside as error:
            raise UnsatisfiableRange(str(error)) from error
        except InvalidKey as error:
            raise UnknownRoute("no file has such a name") from error
        except (StorageUnavailable, TimeoutError) as error:
            log.warning("storage_unavailable", reason=type(error).__name__, detail=str(error))
            raise ContentUnavailable("the storage that holds the files does not answer") from error
