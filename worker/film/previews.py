"""Small pictures of a video while it is made, for whoever listens: the newest one of each job, and no other.

The story only looks, at the edge of a step and for a bounded share of the time. A thread makes the picture
small and shows it over a connection of its own, so a record that is slow or away costs pictures, never steps.
Nothing that goes wrong here fails an attempt.
"""

from __future__ import annotations

import base64
import io
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TypeAlias

from PIL import Image

from models.orders import Progress
from service.contracts.lifecycle import Stage
from service.contracts.preview import Preview, Shows
from service.store.errors import StoreUnavailable
from worker.attempt import Attempt
from worker.events import PreviewMissed, StoreUnreachable, Tell
from worker.film.stills import within
from worker.lease import Held
from worker.moderation import Moderator
from worker.parts import Parts
from worker.renderer import Picture
from worker.step_gate import NOTE_AGAIN_S
from worker.watchdog import Pulse

SHARE = 0.03
"""The most of a stage's time that looking may take: after a dear look the next one comes later."""

SIDE = 256
"""The longer side of a preview is at most so many pixels; smaller frames are never enlarged."""

_FRAME_MS = 250
_TRIES = ((True, 75), (True, 40), (False, 60), (False, 20))
"""Ways to make one fit, the best first: whether all frames or the middle one alone, and the WebP quality."""

Show: TypeAlias = Callable[[str, int, int, Preview], bool]
"""`JobStore.preview`: job id, attempt, number, preview."""


@dataclass
class _Trail:
    """What one attempt has shown: how often, and from when on it may look again (inf: never)."""

    number: int = 0
    look_at: float = float("-inf")


@dataclass(frozen=True)
class _Seen:
    """Frames on their way to the thread."""

    number: int
    shows: Shows
    step: int
    steps: int
    frames: Sequence[Picture]


class Previews:
    """Looks at running attempts, each every `every_s` seconds at most.

    Previews have `max_bytes` at most; 0: there are none.
    """

    def __init__(
        self,
        show: Show,
        moderator: Moderator,
        *,
        max_bytes: int,
        every_s: float,
        tell: Tell,
        clock: Callable[[], float],
        pulse: Pulse,
    ) -> None:
        self._show, self._moderator, self._max_bytes, self._every_s = show, moderator, max_bytes, every_s
        self._tell, self._clock, self._pulse = tell, clock, pulse
        self._thread = ThreadPoolExecutor(1, "preview")
        self._trails: dict[Held, _Trail] = {}
        self._waiting: dict[Held, _Seen] = {}  # shared with the thread
        self._lock = threading.Lock()
        self._quiet_until = float("-inf")  # the thread's own

    def show_keyframe(self, attempt: Attempt) -> None:
        """Stage 2 begins, from a keyframe that has been judged. Costs nothing."""
        if self._max_bytes and attempt.live and attempt.keyframe is not None:
            self._hand_over(attempt, Shows.KEYFRAME, 0, 0, [attempt.keyframe])

    def reached(self, attempt: Attempt, stage: Stage, progress: Progress, row: int, company: int) -> None:
        """A step is finished, and order `row` of `company` is this attempt's: look at it, if it is time."""
        if not self._max_bytes or progress.look is None:
            return
        trail = self._trails.setdefault(attempt.held, _Trail())
        began, due = self._clock(), trail.look_at
        if began < due:
            return
        trail.look_at = float("inf")
        try:
            seen = progress.look(row)
        except Exception as error:  # noqa: BLE001 - a fault of the device will meet the next step, too
            self._tell(PreviewMissed(*attempt.held, f"{type(error).__name__}: {error}"))
            return
        if seen is None:
            trail.look_at = due
            return
        frames = list(seen)
        self._pulse.beat()  # the next step has its own time, however long this took
        if not all(self._moderator.may_show(attempt.held, frame) for frame in frames):
            self._tell(PreviewMissed(*attempt.held, "a checker did not let it pass"))
            return
        now = self._clock()
        trail.look_at = now + max(self._every_s, (now - began) * company / SHARE)
        shows = Shows.PICTURE if stage is Stage.TEXT_TO_IMAGE else Shows.VIDEO
        self._hand_over(attempt, shows, progress.step, progress.steps, frames)

    def close(self, attempts: Sequence[Attempt]) -> None:
        """The story of these attempts is over: there is no more to see."""
        for attempt in attempts:
            self._trails.pop(attempt.held, None)

    def flush(self) -> None:
        """Wait until all that was looked at is shown, or dropped."""
        wait([self._thread.submit(self._send)])

    def _hand_over(
        self, attempt: Attempt, shows: Shows, step: int, steps: int, frames: Sequence[Picture]
    ) -> None:
        trail = self._trails.setdefault(attempt.held, _Trail())
        trail.number += 1
        with self._lock:
            idle = not self._waiting
            self._waiting[attempt.held] = _Seen(trail.number, shows, step, steps, frames)
        if idle:
            self._thread.submit(self._send)

    def _send(self) -> None:
        """Show what waits; what comes meanwhile takes the place of the same attempt's older one."""
        while True:
            with self._lock:
                held = next(iter(self._waiting), None)
                if held is None:
                    return
                seen = self._waiting.pop(held)
            if self._clock() < self._quiet_until:
                continue
            try:
                preview = picture_of(seen.shows, seen.step, seen.steps, seen.frames, self._max_bytes)
                if preview is not None:
                    self._show(*held, seen.number, preview)
            except StoreUnavailable as away:
                self._tell(StoreUnreachable("preview", str(away)))
                self._quiet_until = self._clock() + NOTE_AGAIN_S
            except Exception as error:  # noqa: BLE001 - a thread that ends would say nothing
                self._tell(PreviewMissed(*held, f"{type(error).__name__}: {error}"))


def picture_of(
    shows: Shows, step: int, steps: int, frames: Sequence[Picture], max_bytes: int
) -> Preview | None:
    """Frames uint8 (H, W, 3), at least one, as a small WebP; None if none fits into `max_bytes`."""
    small = [within(frame, SIDE) for frame in frames]
    for whole, quality in _TRIES:
        shown = small if whole else [small[len(small) // 2]]
        body = _webp(shown, quality)
        if len(body) <= max_bytes:
            width, height = shown[0].size
            return Preview(
                shows=shows,
                step=step,
                steps=steps,
                width=width,
                height=height,
                frames=len(shown),
                picture=base64.b64encode(body).decode(),
            )
    return None


def _webp(frames: Sequence[Image.Image], quality: int) -> bytes:
    body = io.BytesIO()
    first, *others = frames
    if others:
        first.save(
            body, "WEBP", quality=quality, save_all=True, append_images=others, duration=_FRAME_MS, loop=0
        )
    else:
        first.save(body, "WEBP", quality=quality)
    return body.getvalue()


def open_previews(parts: Parts, moderator: Moderator, pulse: Pulse) -> Previews:
    """As the settings say, over a connection of its own: the story's must not wait for pictures."""
    return Previews(
        parts.store().preview,
        moderator,
        max_bytes=parts.settings.preview_bytes,
        every_s=parts.settings.preview_every_s,
        tell=parts.tell,
        clock=parts.clock,
        pulse=pulse,
    )
