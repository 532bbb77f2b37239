"""Replays the install steps of deploy/Dockerfile.gateway in a fresh environment, and weighs it.

python -m rig.gateway_packages
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from rig.processes import ROOT

BOUND_MB = 250
#: What starts in this image, and what must not be in it.
MODULES, HEAVY = ("service.main", "service.notifier.main"), ("torch", "diffusers", "transformers", "av")


def steps() -> tuple[list[str], list[list[str]]]:
    """What the image copies, and what it asks pip for, in order."""
    text = (ROOT / "deploy/Dockerfile.gateway").read_text()
    copied = [word for line in re.findall(r"^COPY (?!--)(.*) \S+$", text, re.M) for word in line.split()]
    return copied, [asked.split() for asked in re.findall(r"pip install (.*)$", text, re.M)]


def main() -> None:
    copied, asked = steps()
    with tempfile.TemporaryDirectory(prefix="microcinema-gateway-") as name:
        source, place = Path(name) / "src", Path(name) / "venv"
        for each in copied:
            if (ROOT / each).is_dir():
                shutil.copytree(ROOT / each, source / each, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                source.mkdir(exist_ok=True)
                shutil.copy(ROOT / each, source)
        subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
        for words in asked:
            subprocess.run([place / "bin/pip", "install", "--quiet", *words], cwd=source, check=True)
        subprocess.run([place / "bin/pip", "check"], check=True)  # the lock is whole: nobody misses anything
        (packages,) = (place / "lib").glob("python*/site-packages")
        size = sum(file.stat().st_size for file in packages.rglob("*") if file.is_file()) / 1e6
        for module in MODULES:
            subprocess.run([place / "bin/python", "-c", f"import {module}"], cwd=name, check=True)
        found = [heavy for heavy in HEAVY if (packages / heavy).exists()]
        print(f"gateway image: {size:.0f} MB of packages (bound {BOUND_MB}), heavy ones: {found or 'none'}")
        assert size < BOUND_MB
        assert not found


if __name__ == "__main__":
    main()
