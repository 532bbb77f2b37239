"""Rendered videos on their way to storage, sent by a thread of their own while the GPU goes on.

A video that waits here keeps its attempt's lease, so the record says what is true (running, stage upload), a
cancel and a finish_by work as ever, and nobody renders it again. The spool is bounded: when it is full the
engine claims no more, and a video that is rendered already waits at the door. What waits ends with the
process: no other one may send it (docs/adr/0014-spool.md).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from service.contracts.artifact import Artifact
from service.contracts.keys import KEYFRAME, VIDEO
from service.contracts.lifecycle import Stage
from service.storage.artifact_store import StorageUnavailable
from worker.attempt import Attempt
from worker.events import (
    Fault,
    SpoolChanged,
    SpoolFolderRefused,
    SpoolFull,
    StageFinished,
    StorageRetried,
    Tell,
    Uploaded,
)
from worker.film.stills import Still
from worker.lease import Held, Leases
from worker.patience import GaveUp, Patience
from worker.rhythm import Rhythm
from worker.settlement import Settlement
from worker.spool.kept import Kept, keep_in_memory, keep_on_disk
from worker.spool.waiting import Bounds, Waiting
from worker.step_gate import StepGate
from worker.stops import Stop, Stopped
from worker.upload import Uploader
from worker.watchdog import Pulse

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 5.0
LOOK_EVERY_S = 0.25  # how soon a cancel is heard by a video that waits


class Spool:
    """Takes videos from the story, one at a time; `turn` moves them on. Its gate, settlement and patience
    are its own: a thread that sends must not pass for a GPU that works."""

    def __init__(
        self,
        folder: Path,
        bounds: Bounds,
        leases: Leases,
        gate: StepGate,
        uploader: Uploader,
        settlement: Settlement,
        patience: Patience,
        *,
        leave: threading.Event,
        on_end: Callable[[], object],
        pulse: Pulse,
        tell: Tell,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder, self._bounds, self._leases = folder, bounds, leases
        self._gate, self._uploader, self._settlement, self._patience = gate, uploader, settlement, patience
        self._leave, self._on_end = leave, on_end
        self._pulse, self._tell, self._clock = pulse, tell, clock
        self._waiting: list[Waiting] = []
        self._changed = threading.Condition()
        self._next_try, self._pause_s = clock(), FIRST_PAUSE_S
        self._away = self._was_full = False
        self._rhythm = Rhythm("spool", LOOK_EVERY_S, self._send)

    @property
    def held(self) -> tuple[Held, ...]:
        """The attempts whose videos wait here."""
        with self._changed:
            return tuple(waiting.attempt.held for waiting in self._waiting)

    @property
    def full(self) -> bool:
        """Whether nothing more should be rendered."""
        with self._changed:
            return self._is_full()

    @property
    def storage_away(self) -> bool:
        """Whether the last video that was offered was not taken."""
        return self._away

    def put(
        self,
        attempt: Attempt,
        artifact: Artifact,
        body: bytes,
        stills: Sequence[Still],
        memory_rung: int,
        go_on: Callable[[], None],
    ) -> None:
        """Take a verified video, named by `artifact`, and the pictures of it; from here on the attempt is the
        spool's to end.

        While there is no room for it this waits, and asks `go_on` again and again, which ends the waiting by
        raising.
        """
        keyframe = None
        if attempt.unstored_keyframe is not None:
            named, png = attempt.unstored_keyframe
            keyframe = named, self._keep(KEYFRAME, named.content_type, png)
        video = self._keep(VIDEO, artifact.content_type, body)
        beside = tuple(self._keep(still.name, still.artifact.content_type, still.body) for still in stills)
        waiting = Waiting(attempt, artifact, video, beside, keyframe, memory_rung, self._clock())
        try:
            while not self._let_in(waiting):
                go_on()
                with self._changed:
                    self._changed.wait(LOOK_EVERY_S)
        except BaseException:
            waiting.forget()
            raise
        self._rhythm.nudge()

    def turn(self) -> bool:
        """End what must not wait any longer, and offer one video if it is time; whether any attempt ended."""
        self._pulse.beat()
        ended = False
        for waiting in list(self._waiting):
            stop = self._gate.stop_for(waiting.attempt)
            if stop is not None:
                ended |= self._end(waiting, partial(self._settlement.stop, waiting.attempt, stop))
        with self._changed:
            foremost = next((waiting for waiting in self._waiting if not waiting.ending), None)
        if foremost is None or self._clock() < self._next_try:
            return ended
        return self._offer(foremost) or ended

    def start(self) -> None:
        """Begin to send."""
        self._rhythm.start()

    def stop(self) -> None:
        """Go on for `drain_s` at most, and not beyond `leave`; then hand back what is left: it counts as no
        loss, and is rendered again by whoever claims it. Nothing may be put in any more."""
        until = self._clock() + self._bounds.drain_s
        with self._changed:
            while self._waiting and self._clock() < until and not self._leave.is_set():
                self._changed.wait(LOOK_EVERY_S)
        self._rhythm.stop()
        for waiting in list(self._waiting):
            self._end(waiting, partial(self._settlement.stop, waiting.attempt, Stop.ABANDON))

    def _send(self) -> None:
        while self.turn():
            pass

    def _keep(self, name: str, content_type: str, body: bytes) -> Kept:
        try:
            return keep_on_disk(self._folder, name, content_type, body)
        except OSError as error:  # a local disk that is full costs no video
            self._tell(SpoolFolderRefused(str(error)))
            return keep_in_memory(name, content_type, body)

    def _let_in(self, waiting: Waiting) -> bool:
        with self._changed:
            held = sum(other.size for other in self._waiting)
            room = len(self._waiting) < self._bounds.videos and held + waiting.size <= self._bounds.bytes
            if self._waiting and not room:
                return False
            waiting.attempt.leave_story()
            self._leases.keep(waiting.attempt.held)
            self._waiting.append(waiting)
            self._changed.notify_all()
            self._tell_change()
            return True

    def _offer(self, waiting: Waiting) -> bool:
        attempt = waiting.attempt
        try:
            self._store(waiting)
        except Stopped as stopped:
            return self._end(waiting, partial(self._settlement.stop, attempt, stopped.stop))
        except GaveUp:
            return self._end(waiting, partial(self._settlement.stop, attempt, Stop.ABANDON))
        except StorageUnavailable as error:
            return self._put_off(waiting, error)
        except Exception as error:  # noqa: BLE001 - told with its traceback; no job is to blame for it
            self._tell(Fault(*attempt.held, error))
            trouble = StorageUnavailable("the spool cannot send it")
            return self._end(waiting, partial(self._settlement.trouble, [attempt], trouble))
        self._away, self._pause_s = False, FIRST_PAUSE_S
        return self._end(waiting, partial(self._succeed, waiting))

    def _store(self, waiting: Waiting) -> None:
        """One try. A keyframe that could not be stored in its time goes first, and is named as ever."""
        attempt, go_on = waiting.attempt, partial(self._gate.pass_or_stop, waiting.attempt)
        if waiting.keyframe is not None:
            named, picture = waiting.keyframe
            self._uploader.put(attempt, KEYFRAME, picture.body(), picture.content_type, go_on)
            self._tell(Uploaded(picture.size))
            note = partial(self._gate.note_keyframe, attempt, named, Stage.UPLOAD, 0, 1)
            self._patience.ask("note", note, go_on)
            waiting.keyframe = None
            picture.forget()
        for kept in (*waiting.stills, waiting.video):
            self._uploader.put(attempt, kept.name, kept.body(), kept.content_type, go_on)
            self._tell(Uploaded(kept.size))

    def _succeed(self, waiting: Waiting) -> None:
        seconds = self._clock() - waiting.since
        waiting.attempt.stage_seconds[Stage.UPLOAD] = seconds
        self._tell(StageFinished(Stage.UPLOAD, seconds, (waiting.attempt.held,)))
        self._settlement.succeed(waiting.attempt, waiting.artifact, waiting.memory_rung)

    def _put_off(self, waiting: Waiting, error: StorageUnavailable) -> bool:
        """Later, and another one first. A storage that is away is waited for: rendering again would only
        cost the GPU's time. One that is there and refuses this video is given up after a while."""
        self._away = True
        self._tell(StorageRetried(waiting.attempt.key(VIDEO), str(error)))
        now = self._clock()
        self._next_try, self._pause_s = now + self._pause_s, min(2 * self._pause_s, LONGEST_PAUSE_S)
        with self._changed:
            if not waiting.ending:
                self._waiting.remove(waiting)
                self._waiting.append(waiting)
        self._pulse.beat()
        if not self._uploader.storage_is_there():
            waiting.refused_since = None
            return False
        waiting.refused_since = now if waiting.refused_since is None else waiting.refused_since
        if now - waiting.refused_since < self._bounds.patience_s:
            return False
        return self._end(waiting, partial(self._settlement.trouble, [waiting.attempt], error))

    def _end(self, waiting: Waiting, settle: Callable[[], None]) -> bool:
        """Settle an attempt, once. It is listed until the record knows: no claim may get it again."""
        with self._changed:
            if waiting.ending:
                return False
            waiting.ending = True
        try:
            settle()
        finally:
            waiting.forget()
            self._leases.drop(
                waiting.attempt.held
            )  # what could not be settled is the sweep's: nobody else asks
            with self._changed:
                self._waiting.remove(waiting)
                self._changed.notify_all()
                self._tell_change()
            self._on_end()
        return True

    def _is_full(self) -> bool:
        held = sum(waiting.size for waiting in self._waiting)
        return len(self._waiting) >= self._bounds.videos or held >= self._bounds.bytes

    def _tell_change(self) -> None:
        videos, size, full = (
            len(self._waiting),
            sum(waiting.size for waiting in self._waiting),
            self._is_full(),
        )
        self._tell(SpoolChanged(videos, size, full))
        if full and not self._was_full:
            self._tell(SpoolFull(videos, size))
        self._was_full = full
