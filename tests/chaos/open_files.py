"""What a process holds open, by what it is: a growth must say which files grew."""

from __future__ import annotations

import contextlib
from collections import Counter
from pathlib import Path

LISTENS = "0A"  # linux/net/tcp_states.h
STATES = {"01": "", "06": " time-wait", "08": " close-wait"}


def open_files(pid: int) -> Counter[str]:
    """How many of each kind: "tcp to :6379", "tcp at :8000" (a connection to it), "pipe", a path, ...

    Raises OSError if the process is gone.
    """
    sockets = _sockets(pid)
    found: Counter[str] = Counter()
    for descriptor in (Path("/proc") / str(pid) / "fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed since the listing
            target = descriptor.readlink().as_posix()
            kind, _, inode = target.partition(":[")
            found[sockets.get(inode.rstrip("]"), "socket") if kind == "socket" else kind] += 1
    return found


def _sockets(pid: int) -> dict[str, str]:
    """By inode, of every TCP socket in the process's network."""
    lines = [
        line.split()
        for table in ("tcp", "tcp6")
        for line in (Path("/proc") / str(pid) / "net" / table).read_text().splitlines()[1:]
    ]
    listening = {_port(line[1]) for line in lines if line[3] == LISTENS}
    named = {}
    for line in lines:
        here, there, state = _port(line[1]), _port(line[2]), line[3]
        told = f"tcp listens at :{here}" if state == LISTENS else f"tcp to :{there}"
        if state != LISTENS and here in listening:
            told = f"tcp at :{here}"
        named[line[9]] = told + STATES.get(state, "")
    return named


def _port(address: str) -> int:
    return int(address.split(":")[1], 16)
