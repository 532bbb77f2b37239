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
    """A rendered video with its stills. `ending`: somebody is ending its attempt, and nobody else may."""

    attempt: Attempt
    artifact: Artifact
    video: Kept
    stills: tuple[Kept, ...]
    keyframe: tuple[Artifact, Kept] | None
    memory_rung: int
    since: float
    refused_since: float | None = None
    ending: bool = False

    @property
    def size(self) -> int:
        return sum(kept.size for kept in self._all())

    def forget(self) -> None:
        for kept in self._all():
            kept.forget()

    def _all(self) -> tuple[Kept, ...]:
        keyframe = (self.keyframe[1],) if self.keyframe is not None else ()
        return (self.video, *self.stills, *keyframe)
