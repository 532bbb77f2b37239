"""What a worker tries when a job runs out of device memory, rung by rung, and how it comes down again.

    as_planned -> one_job -> one_frame -> park_idle -> the job fails, out_of_memory

Each rung gives up some speed and keeps the result. The worker lives on whatever happens: it stays on the
rung that helped, comes down one rung after every CALM_JOBS videos that went well, and goes back to where it
stood if no rung helped, for then the job was too large and the next one need not pay for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeVar

from models.thrift import Thrift
from service.contracts.lifecycle import Stage
from worker.attempt import Attempt
from worker.device.accelerator import Accelerator
from worker.device.plan import MemoryPlan
from worker.events import Tell
from worker.memory_events import MemoryRungClimbed, MemoryRungHelped, MemoryRungLeft

CALM_JOBS = 8
"""Videos in a row without trouble before the worker tries one rung lower."""

Made = TypeVar("Made")


class Rung(IntEnum):
    """The order of trying. Numbers are stored with jobs (`usage.memory_rung`): never renumber them.

    ONE_JOB: no batches. ONE_FRAME: the autoencoder decodes frame by frame. PARK_IDLE: networks that a stage
    does not use, stage 1's own first of all, wait in host memory.
    """

    AS_PLANNED = 0
    ONE_JOB = 1
    ONE_FRAME = 2
    PARK_IDLE = 3


@dataclass(frozen=True)
class _Step:
    rung: Rung
    max_batch: int
    thrift: Thrift


class OomLadder:
    """Runs parts of the story, again and more sparingly while the device's memory is too small for them."""

    def __init__(
        self,
        plan: MemoryPlan,
        economise: Callable[[Thrift], object],
        accelerator: Accelerator,
        *,
        tell: Tell,
    ) -> None:
        self._steps = _steps(plan)
        self._economise, self._accelerator, self._tell = economise, accelerator, tell
        self._now = self._floor = 0
        self._calm = 0
        self._unproven = False
        economise(plan.thrift)

    @property
    def rung(self) -> Rung:
        """Where the worker stands."""
        return self._steps[self._now].rung

    @property
    def max_batch(self) -> int:
        """How many jobs may be claimed at once on this rung."""
        return self._steps[self._now].max_batch

    def begin(self) -> None:
        """A claim begins: if none of what follows helps, this is where the worker goes back to."""
        self._floor = self._now

    def run(self, attempts: Sequence[Attempt], stage: Stage, part: Callable[[], Made]) -> Made:
        """`part()`, again on the next rung that can help, until it ends otherwise than out of memory.

        A batch is not run again here: its jobs come back one by one, from the queue. Raises what `part`
        raises, the last error if no rung is left.
        """
        while True:
            try:
                return part()
            except Exception as error:
                if not self._accelerator.is_out_of_memory(error):
                    raise
                above = self._above(stage, len(attempts))
                if above is None:
                    self._move(self._floor)
                    self._unproven = False
                    raise
                self._accelerator.free_memory(error)
                self._climb(above, attempts, stage)
                if len(attempts) > 1:
                    raise

    def succeeded(self, attempt: Attempt) -> None:
        """A video was made on the rung where the worker stands."""
        if self._now == 0:
            return
        if self._unproven:
            self._tell(MemoryRungHelped(*attempt.held, self.rung.name.lower(), int(self.rung)))
            self._unproven, self._calm = False, 0
            return
        self._calm += 1
        if self._calm >= CALM_JOBS:
            self._move(self._now - 1)

    def _above(self, stage: Stage, jobs: int) -> int | None:
        """The next step up that changes anything for this stage and number of jobs."""
        for index in range(self._now + 1, len(self._steps)):
            rung = self._steps[index].rung
            if rung is Rung.ONE_JOB and jobs == 1:
                continue
            if rung is Rung.ONE_FRAME and stage is not Stage.ENCODE:
                continue  # the autoencoder does not decode before that
            return index
        return None

    def _climb(self, index: int, attempts: Sequence[Attempt], stage: Stage) -> None:
        self._move(index)
        self._unproven = True
        for attempt in attempts:
            if attempt.live:
                self._tell(MemoryRungClimbed(*attempt.held, stage, self.rung.name.lower(), int(self.rung)))

    def _move(self, index: int) -> None:
        self._calm = 0
        if index == self._now:
            return
        left, before = self.rung, self._steps[self._now].thrift
        self._now = index
        if self._steps[index].thrift != before:
            self._economise(self._steps[index].thrift)
        if self.rung < left:
            self._tell(MemoryRungLeft(left.name.lower(), int(self.rung)))


def _steps(plan: MemoryPlan) -> tuple[_Step, ...]:
    """Only rungs that change something on this device; each keeps what the ones below it save."""
    planned, sparing = plan.thrift, Thrift(decode_chunk=1)
    steps = [_Step(Rung.AS_PLANNED, plan.batch, planned)]
    if plan.batch > 1:
        steps.append(_Step(Rung.ONE_JOB, 1, planned))
    if planned.decode_chunk > 1:
        steps.append(_Step(Rung.ONE_FRAME, 1, sparing))
    if not plan.device.is_host:
        steps.append(_Step(Rung.PARK_IDLE, 1, Thrift(decode_chunk=1, park_idle=True)))
    return tuple(steps)
