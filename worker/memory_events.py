"""What happens to the device's memory: those of the worker's events (worker/events.py) that tell of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class MemoryPlanned:
    """How the device's memory is shared out, in bytes, before anything goes there."""

    weights: int
    activations: int
    reserve: int
    device: int


@dataclass(frozen=True)
class MemoryRungClimbed:
    """The device's memory was too small for a stage of this attempt; a more sparing way is tried.

    `rung` is its name, `height` its number (worker/device/ladder.py).
    """

    job_id: str
    attempt: int
    stage: str
    rung: str
    height: int


@dataclass(frozen=True)
class MemoryRungHelped:
    """The first video that was made after the worker had climbed to this rung."""

    job_id: str
    attempt: int
    rung: str
    height: int


@dataclass(frozen=True)
class MemoryRungLeft:
    """The worker came down from this rung to `height`: all went well for a while, or no rung helped."""

    rung: str
    height: int
