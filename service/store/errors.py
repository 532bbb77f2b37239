"""What can go wrong between us and the record."""

from collections.abc import Iterator
from contextlib import contextmanager

from redis.exceptions import (
    BusyLoadingError,
    ConnectionError,  # noqa: A004 - the client library's own name
    MasterDownError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TimeoutError,  # noqa: A004 - the client library's own name
    TryAgainError,
)

AWAY = (
    ConnectionError,
    TimeoutError,
    BusyLoadingError,
    MasterDownError,
    ReadOnlyError,
    TryAgainError,
)
"""Answers (or silences) that mean "not now": the same command may work later."""


NEWER = "NEWER "
"""How the scripts' answer begins that becomes NewerRecord (lua/prelude.lua)."""


class StoreUnavailable(RedisError):
    """Redis did not answer, or cannot write at the moment. The command MAY have taken effect.

    Every command of the store can be sent again after this: a repeat never does a thing twice.
    """


class StoreFull(StoreUnavailable):
    """Redis answers, but its memory (maxmemory) or its disk is full: what was to be written was not."""


FULL = (OutOfMemoryError, StoreFull)
"""How a full server shows: to whoever asks it directly, and to whoever asks the store."""


@contextmanager
def reaching_redis() -> Iterator[None]:
    """Turn the client library's many words for "not now" into StoreUnavailable. May raise NewerRecord."""
    try:
        yield
    except OutOfMemoryError as error:
        raise StoreFull(str(error)) from error
    except AWAY as error:
        raise StoreUnavailable(str(error) or type(error).__name__) from error
    except ResponseError as error:
        if str(error).startswith(NEWER):
            raise NewerRecord(str(error).removeprefix(NEWER).partition(" script:")[0]) from error
        if not str(error).startswith("MISCONF"):
            raise
        raise StoreFull(str(error)) from error  # its disk is full or failing: writes wait


class NewerRecord(RedisError):
    """A newer version of the service wrote this, and this one cannot understand it. It stays as it is."""


class UnreadableRecord(ValueError):
    """Somebody has changed this job's record by hand: it can be read no more."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"the record of {job_id} cannot be read")
        self.job_id = job_id


class UnknownCursor(LookupError):
    """A listing was asked to go on after a job that the tenant does not have."""

    def __init__(self, after: str) -> None:
        super().__init__(f"after={after!r} names no video of this tenant")
        self.after = after


class UnsuitableServer(RuntimeError):
    """The Redis server would break a promise of this service, so nothing starts on it."""
