"""A container's walls on one host: the image's user, no rights, and a root that nobody can write to.

Linux only, and for root, who may take things from itself; elsewhere `missing` says why there are none.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from rig.processes import ROOT

#: $0: the folder that stays writable, as volumes and a container's /tmp do. "$@": what runs behind the walls.
_BUILD = (
    '{open}mount --bind "$0" "$0" && mount -o remount,bind,ro / && exec setpriv --reuid={user} '
    '--regid={user} --clear-groups --bounding-set=-all --inh-caps=-all --no-new-privs -- "$@"'
)
#: An interpreter in somebody's closed home: nothing else of it can be seen inside.
_OPEN = (
    'mkdir -p "$0/python" && mount --bind {python} "$0/python" && mount -t tmpfs -o mode=755 none {closed} '
    '&& mkdir -p {python} && mount --bind "$0/python" {python} && '
)


def image_user() -> int:
    """The uid that the Dockerfiles run as."""
    users = {
        int(user)
        for name in ("Dockerfile.cuda", "deploy/Dockerfile.gateway")
        for user in re.findall(r"^USER (\d+)$", (ROOT / name).read_text(), re.M)
    }
    (user,) = users
    return user


def behind(folder: Path) -> list[str]:
    """What to put before a command, so that it can write into `folder` alone. The process keeps its id."""
    python = Path(sys.base_prefix)
    closed = next((each for each in reversed(python.parents) if not each.stat().st_mode & 0o001), None)
    opened = _OPEN.format(python=python, closed=closed) if closed else ""
    return ["unshare", "--mount", "sh", "-c", _BUILD.format(open=opened, user=image_user()), str(folder)]


def given_to_user(*folders: Path) -> None:
    """Folders that the image, or its volumes, have for its user."""
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
        os.chown(folder, image_user(), image_user())


def missing(folder: Path) -> str:
    """Why no walls can be built around `folder` here; "" where they stand, tried in earnest."""
    if os.geteuid() != 0 or not all(map(shutil.which, ("unshare", "setpriv", "mount"))):
        return "it takes root, unshare and setpriv"
    tried = folder / "tried"
    given_to_user(tried)
    code = "import pathlib, redis, service, sys; pathlib.Path(sys.argv[1], 'x').write_text('x')"
    # Behind `env`, as the containers are: the first program behind the walls may still be let through.
    command = [*behind(folder), "env", sys.executable, "-c", code]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    inside = subprocess.run([*command, tried], env=environment, capture_output=True, text=True, check=False)
    if inside.returncode != 0:
        return (inside.stderr.strip().splitlines() or ["no word why"])[-1]
    outside = subprocess.run([*command, ROOT], env=environment, capture_output=True, text=True, check=False)
    assert "Read-only file system" in outside.stderr, "a wall that lets through"
    return ""
