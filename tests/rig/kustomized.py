"""deploy/kubernetes as `kubectl kustomize` renders it, and what of it is asked for."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from rig.processes import ROOT

SOURCE = ROOT / "deploy/kubernetes"
OVERLAYS = sorted(folder.name for folder in (SOURCE / "overlays").iterdir())
Manifest = dict[str, Any]


@cache
def _kustomize_5() -> bool:
    if shutil.which("kubectl") is None:
        return False
    told = subprocess.run(["kubectl", "version", "--client"], capture_output=True, text=True, check=False)
    return "Kustomize Version: v5" in told.stdout


def copied(folder: Path, overlay: str) -> Path:
    """A copy of everything in `folder`, to be changed; the overlay's own, its secrets filled in."""
    shutil.copytree(SOURCE, folder / "kubernetes")
    place = folder / "kubernetes/overlays" / overlay
    example = (place / "secrets.env.example").read_text()
    (place / "secrets.env").write_text(re.sub(r"^(\w+)=$", r"\1=secret", example, flags=re.M))
    return place


def rendered_from(place: Path) -> list[Manifest]:
    """All manifests of an overlay. Skips the test where no kubectl can render them."""
    if not _kustomize_5():
        pytest.skip("needs a kubectl that brings kustomize 5 (Debian's own is too old)")
    told = subprocess.run(["kubectl", "kustomize", str(place)], capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    return list(yaml.safe_load_all(told.stdout))


def of(rendered: list[Manifest], kind: str, name: str | None = None) -> list[Manifest]:
    found = [one for one in rendered if one["kind"] == kind]
    return found if name is None else [one for one in found if one["metadata"]["name"] == name]


def pods(rendered: list[Manifest]) -> Iterator[tuple[str, Manifest, Manifest]]:
    """Name, pod spec and its container of everything that runs."""
    for kind in ("Deployment", "StatefulSet"):
        for one in of(rendered, kind):
            spec = one["spec"]["template"]["spec"]
            (container,) = spec["containers"]
            yield one["metadata"]["name"], spec, container


def environment(container: Manifest) -> dict[str, str]:
    return {one["name"]: one.get("value", "") for one in container.get("env", [])}
