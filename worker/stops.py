"""Why an attempt must not go on although nothing is wrong with it."""

from __future__ import annotations

from enum import StrEnum


class Stop(StrEnum):
    """`told` means that the record said so; `silent` that no beat got through for a whole lease.
    `deadline` is the limit of one attempt, `expired` the job's own finish_by."""

    CANCEL = "cancel"
    LOST_TOLD = "lost_told"
    LOST_SILENT = "lost_silent"
    DEADLINE = "deadline"
    EXPIRED = "expired"
    ABANDON = "abandon"


class Stopped(Exception):
    """Raised out of the work on a single attempt when its gate is closed."""

    def __init__(self, stop: Stop) -> None:
        super().__init__(stop.value)
        self.stop = stop
