"""The record of truth as an operator's command on this machine finds it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from redis import Redis

from service.stack.embedded import embedded_url
from service.stack.settings import StackSettings
from service.store.connections import connect_sync


@contextmanager
def open_record(settings: StackSettings, state_dir: Path) -> Iterator[Redis]:
    """A client of REDIS_URL or, without it, of the embedded server of this state folder.

    Raises EmbeddedValkeyMissing where there is neither.
    """
    url = str(settings.redis_url) if settings.redis_url else embedded_url(state_dir.resolve() / "valkey")
    with connect_sync(url) as redis:
        yield redis
