"""Replays the install steps of the Dockerfiles in fresh environments, and weighs what the images would hold.

python -m rig.image_packages          # the gateway's, and the worker's for CPUs: `make stack-test`
python -m rig.image_packages cuda     # the worker's for GPUs: gigabytes, so it is asked for by name

A Dockerfile's first stage is done line by line: its RUN lines by a shell, its COPY lines as copies. Only the
environment and the sources lie elsewhere, in a temporary folder.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rig.processes import ROOT

HEAVY = ("torch", "diffusers", "transformers", "av")


@dataclass(frozen=True)
class Image:
    """`modules` start in it; `absent` must not be in it; `bound_mb`: of its packages, None: none.

    `tried`: what it must be able to do with nothing but these packages.
    """

    name: str
    dockerfile: str
    modules: tuple[str, ...]
    absent: tuple[str, ...] = ()
    bound_mb: int | None = None
    arguments: Mapping[str, str] | None = None
    tried: str = ""


FILMED = (
    "from models.cinema import Cinema; assert len(Cinema.load()('a red circle', 7, steps=4).frames) == 16"
)
GATEWAY = Image(
    "gateway", "deploy/Dockerfile.gateway", ("service.main", "service.notifier.main"), HEAVY, bound_mb=250
)
WORKER = Image(
    "worker for CPUs",
    "Dockerfile.cuda",
    ("worker.main", "worker.command"),
    arguments={"TORCH": "cpu"},
    tried=FILMED,
)

WORKER_CUDA = Image("worker for GPUs", "Dockerfile.cuda", WORKER.modules, tried=FILMED)


def steps(dockerfile: str) -> list[tuple[str, str]]:
    """ARG, COPY and RUN lines of the first stage, in order, each as its word and the rest of it."""
    text = (ROOT / dockerfile).read_text()
    first = re.sub(r"\\\n\s*", " ", text.split("\nFROM ")[1])
    found = re.findall(r"^(ARG|COPY|RUN) (.*)$", first, re.M)
    return [(word, re.sub(r"--mount=\S+ ", "", rest).strip()) for word, rest in found]


def copied(dockerfile: str) -> set[str]:
    """What of the repository goes into the image."""
    return {each for word, rest in steps(dockerfile) if word == "COPY" for each in rest.split()[:-1]}


def replay(image: Image, folder: Path, **more: str) -> Path:
    """The environment of the image, made in `folder`. CalledProcessError where a step fails."""
    source, place = folder / "src", folder / "venv"
    source.mkdir()
    beside = Path(sys.executable).parent
    environment = {**os.environ, **more, "PATH": f"{place / 'bin'}:{beside}:{os.environ['PATH']}"}
    for word, rest in steps(image.dockerfile):
        if word == "ARG":
            name, _, value = rest.partition("=")
            environment[name] = (image.arguments or {}).get(name, value)
        elif word == "COPY":
            *names, into = rest.split()
            for name in names:
                copy(ROOT / name, source / (Path(name).name if into.endswith("/") else into))
        else:
            moved = rest.replace("/opt/microcinema", str(place)).replace("pip install", "pip install -q")
            subprocess.run(["sh", "-ec", moved], cwd=source, env=environment, check=True)
    return place


def copy(given: Path, target: Path) -> None:
    if given.is_dir():
        shutil.copytree(given, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(given, target)


def weighed(image: Image, folder: Path, **more: str) -> None:
    """Replays it, and holds it to what an image must be."""
    place = replay(image, folder, **more)
    subprocess.run([place / "bin/pip", "check"], check=True)  # the lock is whole: nobody misses anything
    (packages,) = (place / "lib").glob("python*/site-packages")
    size = sum(file.stat().st_size for file in packages.rglob("*") if file.is_file()) / 1e6
    for code in (*(f"import {module}" for module in image.modules), image.tried):
        # Isolated: the installed packages, not those of this repository.
        subprocess.run([place / "bin/python", "-I", "-c", code], cwd=folder, check=True)
    found = [name for name in image.absent if (packages / name).exists()]
    bound = f" (bound {image.bound_mb})" if image.bound_mb else ""
    print(f"image of the {image.name}: {size:.0f} MB of packages{bound}, each by its hash", flush=True)
    assert not found, found
    assert image.bound_mb is None or size < image.bound_mb


def torch_at(folder: Path) -> bool:
    """Fetches torch for CPUs into `folder`; it comes from an index of its own, which may be out of reach."""
    (index,) = (
        rest.split("=", 1)[1] for word, rest in steps(WORKER.dockerfile) if rest.startswith("TORCH_INDEX=")
    )
    asked: Sequence[str] = ("--no-deps", "--require-hashes", "-r", str(ROOT / "deploy/locks/torch-cpu.txt"))
    # By pip's own settings as well: a machine may have the file at hand.
    command = [sys.executable, "-m", "pip", "download", "-q", *asked, "-d", str(folder)]
    given = ("--extra-index-url", index, "--retries", "1", "--timeout", "10")
    return subprocess.run([*command, *given], check=False).returncode == 0


def main(arguments: Sequence[str]) -> None:
    if list(arguments) == ["cuda"]:
        with tempfile.TemporaryDirectory(prefix="microcinema-cuda-") as name:
            weighed(WORKER_CUDA, Path(name))
        return
    with tempfile.TemporaryDirectory(prefix="microcinema-gateway-") as name:
        weighed(GATEWAY, Path(name))
    with tempfile.TemporaryDirectory(prefix="microcinema-worker-") as name:
        folder = Path(name)
        if torch_at(folder / "torch"):
            weighed(WORKER, folder, PIP_FIND_LINKS=str(folder / "torch"))
        else:
            print("IMAGE OF THE WORKER: NOT REPLAYED, torch for CPUs cannot be fetched here")


if __name__ == "__main__":
    main(sys.argv[1:])
