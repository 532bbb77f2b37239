"""deploy/locks: what the images install, held to pyproject.toml, to what is installed here, and to hashes."""

import re
import tomllib
from functools import cache
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCKS = {
    "gateway": ("traces",),
    "worker": ("traces", "worker"),
    "worker-cpu": ("traces", "worker"),
}
#: torch's CUDA build brings these along; the CPU's image takes torch from an index of its own.
CUDA = re.compile(r"^(torch|triton|nvidia-.*|cuda-.*)$")
DOCKERFILES = ("Dockerfile.cuda", "deploy/Dockerfile.gateway")


@cache
def entries(lock: str) -> dict[str, list[tuple[Requirement, list[str]]]]:
    """By name: each pinned requirement (a marker may choose between several) with its hashes."""
    found: dict[str, list[tuple[Requirement, list[str]]]] = {}
    text = (ROOT / f"deploy/locks/{lock}.txt").read_text()
    for entry in re.findall(r"^[^\s#].*(?:\n    --hash=.*)*", text, re.M):
        pinned, *hashes = re.split(r"\s*\\\n\s*", entry)
        requirement = Requirement(pinned)
        found.setdefault(canonicalize_name(requirement.name), []).append((requirement, hashes))
    return found


def asked(lock: str) -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [line for extra in LOCKS[lock] for line in project["optional-dependencies"][extra]]
    return [Requirement(line) for line in (*project["dependencies"], *extras)]


@pytest.mark.parametrize("lock", LOCKS)
def test_every_range_of_pyproject_is_met_by_a_pinned_version(lock):
    for requirement in asked(lock):
        name = canonicalize_name(requirement.name)
        if lock == "worker-cpu" and CUDA.match(name):
            assert name not in entries(lock)
            continue
        assert name in entries(lock), f"{name} is not in {lock}.txt: make lock"
        for pinned, _ in entries(lock)[name]:
            (pin,) = pinned.specifier
            assert pin.operator == "=="
            assert requirement.specifier.contains(pin.version), f"{pinned} for {requirement}: make lock"


@pytest.mark.parametrize("lock", LOCKS)
def test_what_the_pinned_packages_need_is_pinned_too(lock):
    """Held to the packages that are installed here: most of the lock, and all of its roots."""
    seen = 0
    for name, pins in entries(lock).items():
        try:
            here = version(name)
        except PackageNotFoundError:
            continue
        if here not in {specifier.version for pinned, _ in pins for specifier in pinned.specifier}:
            continue  # another version may need other things
        seen += 1
        for line in requires(name) or ():
            needed = Requirement(line)
            if needed.marker is not None and not needed.marker.evaluate({"extra": ""}):
                continue
            wanted = canonicalize_name(needed.name)
            if not (lock == "worker-cpu" and CUDA.match(wanted)):
                assert wanted in entries(lock), f"{name} needs {wanted}"
    assert seen >= 3


@pytest.mark.parametrize("lock", [*LOCKS, "torch-cpu"])
def test_every_file_is_named_by_its_hash_and_by_nothing_else(lock):
    for name, pins in entries(lock).items():
        for pinned, hashes in pins:
            assert pinned.url is None, name
            assert hashes, name
            for each in hashes:
                assert re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", each), f"{name}: {each}"
    text = (ROOT / f"deploy/locks/{lock}.txt").read_text()
    options = [line for line in text.splitlines() if line.startswith("-")]
    assert not options, "an index or a folder of the machine that made the lock"
    assert "://" not in text
    assert "file:" not in text


def test_one_torch_is_pinned_wherever_torch_is_named():
    ((pinned, _),) = entries("worker")["torch"]
    (pin,) = pinned.specifier
    said = re.findall(r"^TORCH_VERSION *\?= *(\S+)", (ROOT / "Makefile").read_text(), re.M)
    assert said == [pin.version]
    ((without_cuda, files),) = entries("torch-cpu")["torch"]
    assert str(without_cuda) == f"torch=={pin.version}+cpu"
    assert len(files) == 2, "for Linux on x86_64 and on arm64"


@pytest.mark.parametrize("name", DOCKERFILES)
def test_the_images_install_by_hash_what_is_not_ours(name):
    text = (ROOT / name).read_text()
    installs = re.findall(r"pip install ((?:[^;&\n\\])*)", text)
    assert len(installs) >= 2
    for words in (install.split() for install in installs):
        assert "--no-deps" in words
        ours = words[-1] == "." and "--no-build-isolation" in words
        locked = "--require-hashes" in words and (ROOT / "deploy/locks" / words[-1]).is_file()
        assert ours or locked, words
