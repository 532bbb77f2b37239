"""What is in the images, and what is known against it: `python -m rig.supply sbom|audit TOOLS`.

TOOLS is the bin folder of an environment with cyclonedx-bom and pip-audit (`make sbom`, `make audit`). Both
read deploy/locks, so they tell of the images and not of whatever is installed here.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rig.processes import ROOT

LOCKS = ROOT / "deploy/locks"
#: By image: the locks that it installs.
IMAGES = {"gateway": ("gateway",), "worker": ("worker",), "worker-cpu": ("torch-cpu", "worker-cpu")}
BILLS = ROOT / "var/sbom"


@dataclass(frozen=True)
class Findings:
    """What an audit came to. `known`: a sentence for each weakness; `unasked`: packages without an answer."""

    known: tuple[str, ...]
    asked: int
    unasked: tuple[str, ...]

    @property
    def verdict(self) -> str:
        """One sentence; silence about a package is never taken for its health."""
        whole = self.asked + len(self.unasked)
        if not self.asked:
            return f"audit: none of {whole} packages could be asked about: no network? Nothing is known"
        rest = f"; {len(self.unasked)} could not be asked about" if self.unasked else ""
        return f"audit: {len(self.known)} known weaknesses in {self.asked} of {whole} packages{rest}"


def findings(report: dict[str, Any]) -> Findings:
    """The JSON of pip-audit, read."""
    known, asked, unasked = [], 0, []
    for package in report["dependencies"]:
        if "skip_reason" in package:
            unasked.append(package["name"])
            continue
        asked += 1
        for weakness in package["vulns"]:
            mended = ", ".join(weakness["fix_versions"]) or "no version yet"
            known.append(f"{package['name']} {package['version']}: {weakness['id']}, mended in {mended}")
    return Findings(tuple(known), asked, tuple(unasked))


def audit(tools: Path) -> None:
    """Prints a report; never an error, for want of network neither."""
    locks = [word for name in ("gateway", "worker") for word in ("-r", str(LOCKS / f"{name}.txt"))]
    asked = (*locks, "--disable-pip", "--require-hashes", "--format", "json", "--progress-spinner", "off")
    ended = subprocess.run([tools / "pip-audit", *asked], capture_output=True, text=True, check=False)
    try:
        found = findings(json.loads(ended.stdout))
    except ValueError:
        last = ended.stderr.strip().splitlines()[-1:] or ["it said nothing"]
        print(f"audit: pip-audit could not ask ({last[0]}). Nothing is known")
        return
    print("\n".join((*found.known, found.verdict)))


def sbom(tools: Path) -> None:
    """Writes a bill of materials (CycloneDX 1.6) for each image. AssertionError: one misses a package."""
    BILLS.mkdir(parents=True, exist_ok=True)
    for image, locks in IMAGES.items():
        bill = BILLS / f"{image}.cdx.json"
        installed = "".join((LOCKS / f"{lock}.txt").read_text() for lock in locks)
        project = ("--pyproject", str(ROOT / "pyproject.toml"))
        written = ("--output-reproducible", "--validate", "--of", "JSON", "-o", str(bill))
        # The warning that is not heard: a list of requirements does not say who needs whom.
        quiet = (tools / "python", "-W", "ignore", "-m", "cyclonedx_py")
        asked = (*quiet, "requirements", "-", *project, *written)
        subprocess.run(asked, input=installed, text=True, check=True)
        listed = {(each["name"], each["version"]) for each in json.loads(bill.read_text())["components"]}
        pinned = set(re.findall(r"^([\w.-]+)==(\S+)", installed, re.M))
        assert listed == pinned, f"{bill.name}: {listed ^ pinned}"
        print(f"{bill.relative_to(ROOT)}: {len(listed)} packages, each with its hashes")


def main(arguments: Sequence[str]) -> None:
    what, tools = arguments
    {"sbom": sbom, "audit": audit}[what](Path(tools))


if __name__ == "__main__":
    main(sys.argv[1:])
