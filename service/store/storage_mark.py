"""Which storage the record's videos lie in: the mark that both carry."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from redis import Redis

from service.contracts.keys import REDIS_KEYS
from service.storage.artifact_store import StorageUnavailable
from service.storage.pairing import MarkedStore, PairedStore, pair
from service.store.errors import StoreUnavailable, reaching_redis

_KEY = REDIS_KEYS["STORAGE"]


@dataclass(frozen=True)
class RecordMark:
    """Over a blocking client whose replies are bytes. While Redis is away: StorageUnavailable."""

    redis: Redis

    def mark(self) -> str | None:
        with _reaching():
            found = self.redis.get(_KEY)
        return found.decode() if isinstance(found, bytes) else None

    def set_mark(self, mark: str) -> None:
        with _reaching():
            self.redis.set(_KEY, mark, nx=True)

    def forget_mark(self) -> None:
        with _reaching():
            self.redis.delete(_KEY)


@contextmanager
def _reaching() -> Iterator[None]:
    try:
        with reaching_redis():
            yield
    except StoreUnavailable as error:
        raise StorageUnavailable(f"the record, which knows its storage, is away: {error}") from error


def paired(storage: MarkedStore, connect: Callable[[], Redis]) -> PairedStore:
    """`storage` behind a look at the record, over a connection of its own, before anything is stored."""

    def prove() -> None:
        with connect() as redis:
            pair(storage, RecordMark(redis))

    return PairedStore(storage, prove)
