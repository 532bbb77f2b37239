"""The worker's events, written as log lines.

Left out: steps, stages and checkpoints, which the job's own record has, what comes into the spool and
leaves it, and the memory plan, which the start logs whole.
"""

from __future__ import annotations

from dataclasses import fields

import structlog

from worker.events import (
    BatchSplit,
    CheckpointFailed,
    CheckpointIgnored,
    CheckpointKept,
    DeviceFault,
    Fault,
    Hung,
    KeyframeLost,
    LeaseLost,
    MemoryPlanned,
    MemoryRungClimbed,
    SpoolChanged,
    SpoolFolderRefused,
    SpoolFull,
    StageFinished,
    StepFinished,
    StorageAway,
    StorageRetried,
    StoreUnreachable,
    WorkerEvent,
)

_WARNINGS = (
    BatchSplit,
    CheckpointFailed,
    CheckpointIgnored,
    KeyframeLost,
    LeaseLost,
    MemoryRungClimbed,
    SpoolFolderRefused,
    SpoolFull,
    StorageAway,
    StorageRetried,
    StoreUnreachable,
)


class Logbook:
    """A reader of events (`tell`) that writes each as one line: its name in snake case, then its facts."""

    def __init__(self, log: structlog.stdlib.BoundLogger) -> None:
        self._log = log

    def tell(self, event: WorkerEvent) -> None:
        """Write one event."""
        if isinstance(event, StepFinished | StageFinished | CheckpointKept | SpoolChanged | MemoryPlanned):
            return
        facts = {field.name: getattr(event, field.name) for field in fields(event)}
        words = _snake(type(event).__name__)
        match event:
            case Fault(error=error):
                self._log.error(words, job_id=event.job_id, attempt=event.attempt, exc_info=error)
            case DeviceFault() | Hung():
                self._log.error(words, **facts)
            case _ if isinstance(event, _WARNINGS):
                self._log.warning(words, **facts)
            case _:
                self._log.info(words, **facts)


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")
