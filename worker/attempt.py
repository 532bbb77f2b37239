"""One try at one job, as this worker remembers it while it runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from service.contracts.artifact import Artifact
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

    `stage_gpu_seconds` are its part of the device's time: attempts that run together share theirs.
    `peak_memory`: the most bytes of the device in use so far, together (None: nobody can say).
    `live` turns False once, when the attempt has ended here, however it ended. `stored` are the keys that
    this attempt has written, or may have written, under its own prefix. `unstored_keyframe`: what the record
    is to name, and its bytes, while no storage has taken them. `source`: the MP4 that an extension goes on
    with. `in_spool`: rendered, and the spool's to end. `candidates`: what is kept so far for a gated job's
    owner to choose from. `batch`: with so many, itself included, it went through stage 2. `starved`: it was
    given back because it needed a storage that was away. `resumed_after`: so many steps of stage 2 were an
    earlier attempt's.
    """

    job: VideoJob
    number: int
    began: float
    finish_by: float | None = None
    live: bool = True
    keyframe: Picture | None = None
    unstored_keyframe: tuple[Artifact, bytes] | None = None
    candidates: tuple[Artifact, ...] = ()
    source: bytes | None = None
    in_spool: bool = False
    batch: int = 1
    resumed_after: int = 0
    starved: bool = False
    progress: int = 0
    noted_at: float = float("-inf")
    stored: list[str] = field(default_factory=list)
    stage_seconds: dict[Stage, float] = field(default_factory=dict)
    stage_gpu_seconds: dict[Stage, float] = field(default_factory=dict)
    peak_memory: int | None = None

    @property
    def held(self) -> Held:
        """The name of its lease."""
        return (self.job.id, self.number)

    @property
    def offers(self) -> bool:
        """Whether it paints candidates for its owner to choose from, instead of one keyframe to animate."""
        return self.request.gate is not None and self.job.chosen is None

    @property
    def gpu_seconds(self) -> float:
        """Its part of the device's time so far."""
        return sum(self.stage_gpu_seconds.values())

    @property
    def request(self) -> VideoRequest:
        """What the client asked."""
        return self.job.request

    def leave_story(self) -> None:
        """Into the spool, without the pictures in memory: from here on the story has no say in it."""
        self.in_spool, self.keyframe, self.unstored_keyframe, self.source = True, None, None, None

    def key(self, name: str) -> str:
        """The key of an object of this attempt; no other attempt ever writes or deletes it."""
        return attempt_prefix(self.job.tenant, self.job.id, self.number) + name


def share_device_time(attempts: Sequence[Attempt], stage: Stage, seconds: float) -> None:
    """So many seconds of the device went by in `stage` for those of `attempts` that were live."""
    sharing = [attempt for attempt in attempts if attempt.live]
    for attempt in sharing:
        before = attempt.stage_gpu_seconds.get(stage, 0.0)
        attempt.stage_gpu_seconds[stage] = before + seconds / len(sharing)


def stage_ended(attempts: Sequence[Attempt], stage: Stage, seconds: float, peak: int | None) -> None:
    """It took so long, and by now so many bytes of the device's memory at once."""
    for attempt in attempts:
        attempt.stage_seconds[stage] = attempt.stage_seconds.get(stage, 0.0) + seconds
        attempt.peak_memory = peak
