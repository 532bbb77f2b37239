"""Fetched model folders on local disk: whole or not there, once per machine, however many workers start.

<root>/<place>/<version>/<name>/     a complete model; <version> is derived from its content
<root>/<place>/<version>.partial/    a download that was cut off; the next one goes on with it
<root>/<place>/last                  the version that was complete last
"""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_LAST, _LOCK = "last", ".lock"


class WeightsCache:
    """Folders by place (where they come from) and version. Several processes may use one `root`."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def folder(self, place: str, version: str, name: str, fetch: Callable[[Path], None]) -> Path:
        """The folder, fetched if it is not there; a second process waits until the first one has it.

        `fetch` fills a folder that may hold what an earlier try left. What it raises passes through, and
        what it had written stays for the next try.
        """
        home = self._root / place
        final = home / version / name
        home.mkdir(parents=True, exist_ok=True)
        with _locked(home / _LOCK):
            if not final.is_dir():
                partial = home / f"{version}.partial"
                (partial / name).mkdir(parents=True, exist_ok=True)
                fetch(partial / name)
                partial.rename(final.parent)
            aside = home / f"{_LAST}.new"
            aside.write_text(f"{version}/{name}\n")
            aside.replace(home / _LAST)
        return final

    def last(self, place: str) -> Path | None:
        """The version that was complete last: what there is while the place itself cannot be reached."""
        try:
            found = self._root / place / (self._root / place / _LAST).read_text().strip()
        except FileNotFoundError:
            return None
        return found if found.is_dir() else None


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One process at a time; the system releases the lock of a process that dies."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
