"""deploy/locks against a copy of PyPA's advisory database, for where pip-audit's service is out of reach.

python -m rig.advisories FOLDER    # a checkout of github.com/pypa/advisory-database; a report, no error

It knows what the copy knows: whatever was published behind it is not seen.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from packaging.utils import canonicalize_name
from packaging.version import Version

from rig.supply import LOCKS, Findings


def pinned() -> dict[str, set[Version]]:
    """Every version that an image installs, by name."""
    found: dict[str, set[Version]] = {}
    for lock in LOCKS.glob("*.txt"):
        for name, version in re.findall(r"^([\w.-]+)==([^\s;\\]+)", lock.read_text(), re.M):
            found.setdefault(canonicalize_name(name), set()).add(Version(Version(version).public))
    return found


def reached(affected: Mapping[str, Any], version: Version) -> bool:
    """Whether an entry of OSV's `affected` says that this version has the weakness."""
    if version in {Version(each) for each in affected.get("versions", ()) if _readable(each)}:
        return True
    return any(
        _within(each["events"], version) for each in affected.get("ranges", ()) if each["type"] == "ECOSYSTEM"
    )


def _within(events: list[Mapping[str, str]], version: Version) -> bool:
    inside = False
    for event in events:
        if "introduced" in event:
            inside |= version >= Version(event["introduced"])
        elif "fixed" in event:
            inside &= version < Version(event["fixed"])
        elif "last_affected" in event:
            inside &= version <= Version(event["last_affected"])
    return inside


def _readable(version: str) -> bool:
    return re.fullmatch(r"v?[0-9][0-9A-Za-z.+!-]*", version) is not None and "-" not in version.lstrip("v")


def weaknesses(database: Path, pins: Mapping[str, set[Version]]) -> Iterator[tuple[str, str]]:
    """For each advisory about a pinned package its name and a sentence, "" where no pinned version has it."""
    for name, versions in pins.items():
        for file in sorted((database / "vulns" / name).glob("*.yaml")):
            told = yaml.safe_load(file.read_text())
            entries = () if told.get("withdrawn") else told["affected"]
            ours = [each for each in entries if canonicalize_name(each["package"]["name"]) == name]
            hit = sorted(str(version) for version in versions if any(reached(each, version) for each in ours))
            yield name, f"{name} {', '.join(hit)}: {told['id']}" if hit else ""


def main(database: Path) -> None:
    if not (database / "vulns").is_dir():
        raise SystemExit(f"{database} has no folder vulns: it is no copy of the advisory database")
    pins = pinned()
    found = list(weaknesses(database, pins))
    known = tuple(sentence for _, sentence in found if sentence)
    print("\n".join((*known, Findings(known, len(pins), ()).verdict)))
    print(f"{len(found)} advisories are about these packages; what came behind this copy is not known")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
