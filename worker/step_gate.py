"""The gate between two steps: may each attempt go on, and who is told how far it is.

Looking costs nothing (memory and a clock); only the progress note asks the record, a few times a second or
a score of times an attempt. A drain is not a reason to stop: the attempt that runs is finished first.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType

from service.contracts.artifact import Artifact
from service.contracts.lifecycle import Stage
from service.store.errors import StoreUnavailable
from service.store.nouns import Note
from service.store.store import JobStore
from worker.attempt import Attempt
from worker.events import StoreUnreachable, Tell
from worker.lease import Leases
from worker.stops import Stop, Stopped
from worker.watchdog import Pulse

NOTE_EVERY_S = 0.25
#: And after so many more percent: a fast clip of 25 steps would seem to make three leaps otherwise.
NOTE_POINTS = 6
# Progress is only advice: while the record is away, asking it after each step would slow the work down.
NOTE_AGAIN_S = 2.0

PROGRESS: Mapping[Stage, tuple[int, int]] = MappingProxyType(
    {
        Stage.TEXT_TO_IMAGE: (0, 20),
        Stage.IMAGE_TO_VIDEO: (20, 92),
        Stage.TEXT_TO_VIDEO: (0, 92),
        Stage.ENCODE: (92, 97),
        Stage.UPLOAD: (97, 99),
    }
)
"""The part of 0..99 that each stage fills, by its rough share of the time; 100 is only for success."""


def percent(stage: Stage, step: int, steps: int) -> int:
    """Progress in whole percent after `step` of `steps` finished steps of a stage."""
    low, high = PROGRESS[stage]
    return low + (high - low) * step // steps


class StepGate:
    """Passed after every step and frame, and before every write."""

    def __init__(
        self,
        store: JobStore,
        leases: Leases,
        *,
        attempt_limit_s: float,
        leave: threading.Event,
        pulse: Pulse,
        tell: Tell,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._leases, self._attempt_limit_s, self._leave = store, leases, attempt_limit_s, leave
        self._pulse, self._tell, self._clock = pulse, tell, clock
        self._quiet_until = float("-inf")

    def stop_for(self, attempt: Attempt) -> Stop | None:
        """Why this attempt must stop, or None."""
        stop = self._leases.stop_for(attempt.held)
        if stop is None and self._leave.is_set():
            return Stop.ABANDON
        if stop is None and self._clock() - attempt.began > self._attempt_limit_s:
            return Stop.DEADLINE
        if stop is None and attempt.finish_by is not None and self._clock() >= attempt.finish_by:
            return Stop.EXPIRED
        return stop

    def pass_or_stop(self, attempt: Attempt) -> None:
        """Returns if the attempt may go on; raises Stopped."""
        self._pulse.beat()
        stop = self.stop_for(attempt)
        if stop is not None:
            raise Stopped(stop)

    def note(self, attempt: Attempt, stage: Stage, step: int, steps: int) -> None:
        """Tell the record that `step` of `steps` steps are finished.

        Steps in the middle of a stage are told a few times a second, or every few percent where that is
        sooner; the ends of a stage always. Progress never falls.

        Raises Stopped if the record answers that the attempt is not current any more.
        """
        now = self._clock()
        moved = percent(stage, step, steps) - attempt.progress >= NOTE_POINTS or step in (0, steps)
        if now < self._quiet_until or (not moved and now - attempt.noted_at < NOTE_EVERY_S):
            return
        attempt.noted_at = now
        try:
            current = self._store.note(*attempt.held, self._note(attempt, stage, step, steps))
        except StoreUnavailable as error:
            self._tell(StoreUnreachable("note", str(error)))
            self._quiet_until = self._clock() + NOTE_AGAIN_S
            return
        if not current:
            raise Stopped(Stop.LOST_TOLD)

    def note_keyframe(
        self, attempt: Attempt, keyframe: Artifact, stage: Stage, step: int, steps: int
    ) -> None:
        """Have the record name a stored keyframe, so that whoever goes on from here skips stage 1.

        One try: raises StoreUnavailable, and Stopped as `note` does.
        """
        if not self._store.note(*attempt.held, self._note(attempt, stage, step, steps, keyframe)):
            raise Stopped(Stop.LOST_TOLD)

    def note_candidates(self, attempt: Attempt, step: int, steps: int) -> None:
        """Have the record name all candidates that the attempt has stored. One try, as `note_keyframe`."""
        note = replace(self._note(attempt, Stage.TEXT_TO_IMAGE, step, steps), candidates=attempt.candidates)
        if not self._store.note(*attempt.held, note):
            raise Stopped(Stop.LOST_TOLD)

    @staticmethod
    def _note(
        attempt: Attempt, stage: Stage, step: int, steps: int, keyframe: Artifact | None = None
    ) -> Note:
        attempt.progress = max(attempt.progress, percent(stage, step, steps))
        return Note(stage, step, steps, attempt.progress, keyframe)
