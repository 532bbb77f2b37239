"""The worker's events, written as log lines.

Left out: steps, stages and checkpoints, which the job's own record has, what comes into the spool and
leaves it, and the memory plan, which the start logs whole.
"""

from __future__ import annotations

from dataclasses import fields

from structlog.typing import FilteringBoundLogger

from service.tracing import trace_id_of
from worker.events import (
    AttemptBegan,
    AttemptEnded,
    BatchSplit,
    CheckpointFailed,
    CheckpointIgnored,
    CheckpointKept,
    ContentWithheld,
    DeviceFault,
    DeviceTimeSpent,
    Fault,
    Hung,
    KeyframeLost,
    LeaseLost,
    PreviewMissed,
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
from worker.memory_events import MemoryPlanned, MemoryRungClimbed

_WARNINGS = (
    BatchSplit,
    CheckpointFailed,
    CheckpointIgnored,
    ContentWithheld,
    KeyframeLost,
    LeaseLost,
    MemoryRungClimbed,
    PreviewMissed,
    SpoolFolderRefused,
    SpoolFull,
    StorageAway,
    StorageRetried,
    StoreUnreachable,
)


class Logbook:
    """A reader of events (`tell`) that writes each as one line: its name in snake case, then its facts."""

    def __init__(self, log: FilteringBoundLogger) -> None:
        self._log = log
        self._whose: dict[str, dict[str, str]] = {}  # job -> what every line about it carries

    def tell(self, event: WorkerEvent) -> None:
        """Write one event."""
        if isinstance(
            event,
            StepFinished | DeviceTimeSpent | StageFinished | CheckpointKept | SpoolChanged | MemoryPlanned,
        ):
            return
        facts = {field.name: getattr(event, field.name) for field in fields(event)}
        facts |= self._known_of(event)
        words = _snake(type(event).__name__)
        match event:
            case Fault(error=error):
                facts.pop("error")
                self._log.error(words, **facts, exc_info=error)
            case DeviceFault() | Hung():
                self._log.error(words, **facts)
            case _ if isinstance(event, _WARNINGS):
                self._log.warning(words, **facts)
            case _:
                self._log.info(words, **facts)

    def _known_of(self, event: WorkerEvent) -> dict[str, str]:
        """Tenant and trace of the job that it is about, known while its attempt runs."""
        job_id = getattr(event, "job_id", "")
        if isinstance(event, AttemptBegan):
            trace_id = trace_id_of(event.traceparent)
            self._whose[job_id] = {"tenant": event.tenant} | ({"trace_id": trace_id} if trace_id else {})
        known = self._whose.get(job_id, {})
        if isinstance(event, AttemptEnded):
            self._whose.pop(job_id, None)
        return known


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")
