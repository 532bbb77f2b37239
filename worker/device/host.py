"""How much memory this process may have on a machine without a GPU, and how much it had at most."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path


def host_memory(root: Path = Path("/")) -> int:
    """Bytes: the smallest of the machine's memory and every cgroup limit (v1 or v2) that holds this process.

    `root` is where proc/ and sys/ are found.
    """
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([machine, *_limits(root)])


def reset_resident_peak(root: Path = Path("/")) -> bool:
    """Forget the process's high-water mark (proc(5), clear_refs); False where that cannot be done."""
    try:
        (root / "proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def resident_peak(root: Path = Path("/")) -> int | None:
    """Most bytes that the process had in memory at once since then; None where nobody counts them."""
    return _status("VmHWM:", root)


def resident_now(root: Path = Path("/")) -> int | None:
    """Bytes that the process has in memory; None where nobody counts them."""
    return _status("VmRSS:", root)


def _status(field: str, root: Path) -> int | None:
    for line in _text(root / "proc/self/status").splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    return None


def _limits(root: Path) -> Iterator[int]:
    """cgroup limits in bytes; "max" and files that are not there limit nothing.

    Inside a container the mount often begins at the container's own group while proc still tells the path
    from the host's root, so the mount's top is looked at as well.
    """
    mount = root / "sys/fs/cgroup"
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            base, name = mount, "memory.max"
        elif "memory" in controllers.split(","):
            base, name = mount / "memory", "memory.limit_in_bytes"
        else:
            continue
        group = base / path.lstrip("/")
        while True:
            limit = _text(group / name).strip()
            if limit.isdigit():
                yield int(limit)
            if group == base:
                break
            group = group.parent


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
