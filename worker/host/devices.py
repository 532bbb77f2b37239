"""Which GPUs of this host get a worker: `--gpus` against what the host has."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Sequence

ALL = "all"
LISTING_S = 60.0

_NAME = re.compile(r"\d{1,3}|(GPU|MIG)-[0-9A-Za-z/-]{1,80}")
_GPU = re.compile(r"^GPU (\d+):.*\(UUID: (GPU-[^)]+)\)")
_MIG = re.compile(r"^\s+MIG .*\(UUID: (MIG-[^)]+)\)")

Present = Sequence[tuple[str, ...]]
"""The devices of a host; each by all its names, the one that its worker is given first."""


class NoSuchDevice(ValueError):
    """What was asked for is not there; the sentence says what is."""


def devices_for(asked: str, visible: str, present: Callable[[], Present]) -> tuple[str, ...]:
    """The values of CUDA_VISIBLE_DEVICES, one for each worker, in the order asked for.

    asked: "all", or names by comma as `nvidia-smi -L` has them (0, GPU-..., MIG-...). visible: the list in
    CUDA_VISIBLE_DEVICES, empty if nobody chose; it then is all there is. present: lists the host's devices,
    and raises NoSuchDevice where they cannot be listed: only "all" depends on it. Raises NoSuchDevice.
    """
    chosen = _cuda_list(visible)
    if asked.strip() == ALL:
        names = chosen if visible else tuple(device[0] for device in present())
        if not names:
            raise NoSuchDevice("--gpus all: no GPU is visible to this process")
        return names
    names = tuple(name.strip() for name in asked.split(","))
    for name in names:
        if not _NAME.fullmatch(name):
            raise NoSuchDevice(
                f"--gpus {asked!r}: {name!r} must be a device as `nvidia-smi -L` names it (0, GPU-... or "
                f"MIG-...), by comma, or the whole be {ALL!r}"
            )
    known: Present | None
    try:
        known = [(name,) for name in chosen] if visible else present()
    except NoSuchDevice:
        known = None  # its workers will say what they find
    first = {name: device[0] for device in known or () for name in device}
    if known is not None and (unknown := [name for name in names if name not in first]):
        there = ", ".join(device[0] for device in known) or "none"
        raise NoSuchDevice(f"--gpus {asked!r}: no device {', '.join(unknown)} here; there is: {there}")
    own = tuple(first.get(name, name) for name in names)
    if twice := sorted({name for name in own if own.count(name) > 1}):
        raise NoSuchDevice(f"--gpus {asked!r}: {', '.join(twice)} is named twice; one process, one GPU")
    return own


def nvidia_devices() -> Present:
    """What `nvidia-smi -L` lists: whole GPUs by number, one that is divided (MIG) by its parts' ids."""
    try:
        listed = subprocess.run(
            ["nvidia-smi", "-L"], capture_output=True, text=True, check=False, timeout=LISTING_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NoSuchDevice(f"--gpus all: nvidia-smi cannot be asked for the GPUs: {error}") from error
    if listed.returncode:
        said = " ".join((listed.stdout + listed.stderr).split())
        raise NoSuchDevice(f"--gpus all: nvidia-smi -L ended with {listed.returncode}: {said}")
    return read_listing(listed.stdout)


def read_listing(text: str) -> Present:
    """The output of `nvidia-smi -L`, read."""
    gpus: list[tuple[tuple[str, ...], list[tuple[str, ...]]]] = []
    for line in text.splitlines():
        if gpu := _GPU.match(line):
            gpus.append(((gpu[1], gpu[2]), []))
        elif gpus and (part := _MIG.match(line)):
            gpus[-1][1].append((part[1],))
    return [device for whole, parts in gpus for device in (parts or [whole])]


def _cuda_list(visible: str) -> tuple[str, ...]:
    """As CUDA reads its variable: up to the first name that is none ("-1" hides every device)."""
    names: list[str] = []
    for name in visible.split(","):
        if not _NAME.fullmatch(name.strip()):
            break
        names.append(name.strip())
    return tuple(names)
