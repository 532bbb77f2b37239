"""One try at one job, as this worker remembers it while it runs."""

from __future__ import annotations

from dataclasses import dataclass, field

from service.contracts.job import VideoJob
from service.contracts.keys import attempt_prefix
from service.contracts.lifecycle import Stage
from service.contracts.request import VideoRequest
from worker.lease import Held
from worker.renderer import Picture


@dataclass(eq=False)
class Attempt:
    """`number` is the fencing token of every write. `began` and `finish_by`
    (None: there is none) are by the worker's monotonic clock.

    `live` turns False once, when the attempt has ended here, however it ended. `stored` are the keys that
    this attempt has written, or may have written, under its own prefix.
    """

    job: VideoJob
    number: int
    began: float
    finish_by: float | None = None
    live: bool = True
    keyframe: Picture | None = None
    progress: int = 0
    noted_at: float = float("-inf")
    stored: list[str] = field(default_factory=list)
    stage_seconds: dict[Stage, float] = field(default_factory=dict)

    @property
    def held(self) -> Held:
        """The name of its lease."""
        return (self.job.id, self.number)

    @property
    def request(self) -> VideoRequest:
        """What the client asked."""
        return self.job.request

    def key(self, name: str) -> str:
        """The key of an object of this attempt; no other attempt ever writes or deletes it."""
        return attempt_prefix(self.job.tenant, self.job.id, self.number) + name
