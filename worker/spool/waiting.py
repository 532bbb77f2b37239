"""A rendered video that waits in the spool, and how many may."""

from __future__ import annotations

from dataclasses import dataclass

from service.contracts.artifact import Artifact
from worker.attempt import Attempt
from worker.spool.kept import Kept


@dataclass(frozen=True)
class Bounds:
    """What the spool may hold; one video is taken whatever its size. `drain_s`: how long a worker that is to
    end goes on offering; `patience_s`: how long a storage that answers may refuse a video."""

    videos: int
    bytes: int
    patience_s: float
    drain_s: float


@dataclass(eq=False)
class Waiting:
    """A rendered video. `ending`: somebody is ending its attempt, and nobody else may."""

    attempt: Attempt
    artifact: Artifact
    video: Kept
    keyframe: tuple[Artifact, Kept] | None
    memory_rung: int
    since: float
    refused_since: float | None = None
    ending: bool = False

    @property
    def size(self) -> int:
        return self.video.size + (self.keyframe[1].size if self.keyframe else 0)

    def forget(self) -> None:
        self.video.forget()
        if self.keyframe is not None:
            self.keyframe[1].forget()
