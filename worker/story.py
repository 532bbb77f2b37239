"""The story of an attempt, stage by stage; attempts of one compat key live through the model stages together.

    text_to_image -> the keyframe, stored at once -> image_to_video -> decode and encode -> the spool

Stage 1 is skipped for an attempt whose job has a keyframe already: one that an earlier attempt stored, or the
client's own picture. A job with a gate ends its attempt behind stage 1, until its owner chose a keyframe.
Stage 2 goes on behind the step that an earlier attempt kept. A model without keyframes has one stage,
text_to_video, in place of the first two.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from models.errors import CheckpointUnfit
from models.orders import PictureOrder, Progress, VideoOrder
from service.contracts.keys import VIDEO
from service.contracts.lifecycle import Stage
from service.contracts.model_spec import ModelSpec
from worker.attempt import Attempt, share_device_time, stage_ended
from worker.catalogue import misfit
from worker.checkpoints import Checkpoints
from worker.device.accelerator import Accelerator
from worker.device.ladder import OomLadder
from worker.events import CheckpointIgnored, DeviceTimeSpent, StageFinished, StepFinished, Tell
from worker.failures import BadInput
from worker.film.encode import EncodedVideo, encode_mp4, video_artifact
from worker.film.previews import Previews
from worker.film.stills import Still, Stills
from worker.keyframes import Keyframes, counted_among
from worker.moderation import Moderator
from worker.orders import chosen_candidate, picture_order, video_order
from worker.patience import GaveUp
from worker.provenance.credentials import Sign
from worker.provenance.receipts import Receipts
from worker.renderer import OnePerOrder, Picture, Renderer, Work
from worker.settlement import DeviceBroken, Settlement
from worker.source_film import joined
from worker.spool.spool import Spool
from worker.step_gate import StepGate
from worker.stops import Stop, Stopped

if TYPE_CHECKING:
    from torch import Tensor

Made = TypeVar("Made")


class Story:
    """Runs attempts from claim to the spool. One that is stopped or fails leaves; the others go on."""

    def __init__(
        self,
        renderer: Renderer,
        spec: ModelSpec,
        keyframes: Keyframes,
        accelerator: Accelerator,
        gate: StepGate,
        spool: Spool,
        settlement: Settlement,
        ladder: OomLadder,
        checkpoints: Checkpoints,
        sign: Sign,
        moderator: Moderator,
        previews: Previews,
        receipts: Receipts,
        *,
        tell: Tell,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._renderer, self._spec, self._keyframes, self._accelerator = (
            renderer,
            spec,
            keyframes,
            accelerator,
        )
        self._ladder, self._spool, self._checkpoints = ladder, spool, checkpoints
        self._gate, self._settlement = gate, settlement
        self._sign, self._moderator = sign, moderator
        self._previews, self._receipts = previews, receipts
        self._tell, self._clock = tell, clock

    def run(self, attempts: Sequence[Attempt]) -> None:
        """Live through all stages; afterwards no attempt is live but those in the spool.

        Raises DeviceBroken, and then those that had not ended before are live still.
        """
        try:
            self._run(attempts)
        finally:
            self._checkpoints.close(attempts)
            self._previews.close(attempts)

    def _run(self, attempts: Sequence[Attempt]) -> None:
        self._ladder.begin()
        self._accelerator.forget_peak()
        for attempt in attempts:
            self._alone(attempt, self._prepare)
        if self._spec.keyframe is not None:
            self._paint([a for a in attempts if a.live and a.keyframe is None and not a.offers])
            self._offer([a for a in attempts if a.live and a.offers])
        for attempt, latents in self._animate([a for a in attempts if a.live]):
            self._alone(attempt, partial(self._film, latents=latents))

    def _prepare(self, attempt: Attempt) -> None:
        """Check that this model can serve the request, and fetch a keyframe that is there already.

        A job that was accepted under other weights of this model is rendered with the ones served now: the
        client was promised a video by the model's name, and new weights must not cost accepted jobs. (The
        compat key keeps jobs of different weights out of one batch.)
        """
        problem = misfit(attempt.request, self._spec)
        if problem is not None:
            raise BadInput(problem)
        self._moderator.judge_prompt(attempt.held, attempt.request.prompt)
        self._keyframes.fetch(attempt)

    def _paint(self, attempts: Sequence[Attempt]) -> None:
        """Stage 1; of an approved keyframe that is lost, the same candidate again."""
        steps = self._renderer.spec.picture_steps
        orders = [self._picture_order(a, chosen_candidate(a.job)) for a in attempts]
        work = partial(self._renderer.paint, orders)
        for attempt, picture in self._together(attempts, Stage.TEXT_TO_IMAGE, Progress(0, steps), work):
            self._alone(attempt, partial(self._keyframes.keep, picture=picture, steps=steps))

    def _offer(self, attempts: Sequence[Attempt]) -> None:
        """Stage 1 once per candidate that is not there yet. Jobs of one compat key offer equally many."""
        steps = self._renderer.spec.picture_steps
        for attempt in attempts:
            self._alone(attempt, self._keyframes.hold_if_whole)
        count = max((a.request.gate.candidates for a in attempts if a.request.gate is not None), default=0)
        for index in range(count):
            lacking = [a for a in attempts if a.live and len(a.candidates) == index]
            orders = [self._picture_order(a, index) for a in lacking]
            work = partial(self._paint_among, orders, index, count)
            start = Progress(index * steps, count * steps)
            for attempt, picture in self._together(lacking, Stage.TEXT_TO_IMAGE, start, work):
                self._alone(attempt, partial(self._keyframes.offer, picture=picture, steps=steps))

    def _paint_among(
        self, orders: Sequence[PictureOrder], index: int, count: int
    ) -> Work[OnePerOrder[Picture]]:
        return counted_among(self._renderer.paint(orders), index, count)

    def _picture_order(self, attempt: Attempt, candidate: int) -> PictureOrder:
        return picture_order(attempt.request, self._renderer.spec, candidate)

    def _animate(self, attempts: Sequence[Attempt]) -> list[tuple[Attempt, Tensor]]:
        if not attempts:
            return []
        orders = [video_order(attempt.request) for attempt in attempts]
        for attempt in attempts:
            attempt.batch = len(attempts)
        stage, keyframes = Stage.TEXT_TO_VIDEO, []
        if self._spec.keyframe is not None:
            stage = Stage.IMAGE_TO_VIDEO
            keyframes = [attempt.keyframe for attempt in attempts if attempt.keyframe is not None]
        for attempt in attempts:
            self._previews.show_keyframe(attempt)
        work: Callable[[], Work[OnePerOrder[Tensor]]] = partial(self._renderer.animate, orders, keyframes)
        if len(attempts) == 1 and self._renderer.spec.abilities.resumes:
            work = partial(self._resume, attempts[0], orders[0], keyframes)
        return self._together(attempts, stage, Progress(0, orders[0].steps), work)

    def _resume(
        self, attempt: Attempt, order: VideoOrder, keyframes: Sequence[Picture]
    ) -> Work[OnePerOrder[Tensor]]:
        """Stage 2 from where an earlier attempt was kept, if that is of use. (Such an attempt runs alone.)"""
        kept = self._checkpoints.read(attempt)
        if kept is not None:
            step = attempt.job.checkpoint.step if attempt.job.checkpoint else 0
            attempt.resumed_after = step
            try:
                return (yield from self._renderer.animate([replace(order, after=kept)], keyframes))
            except CheckpointUnfit as unfit:
                attempt.resumed_after = 0
                self._tell(CheckpointIgnored(*attempt.held, step, str(unfit)))
        return (yield from self._renderer.animate([order], keyframes))

    def _film(self, attempt: Attempt, latents: Tensor) -> None:
        """Latents become a verified file, and the spool's."""
        began = self._clock()
        film, stills = self._ladder.run([attempt], Stage.ENCODE, partial(self._encode, attempt, latents))
        self._spent([attempt], Stage.ENCODE, self._clock() - began)
        self._stage_finished([attempt], Stage.ENCODE, began)

        self._gate.note(attempt, Stage.UPLOAD, 0, 1)
        artifact = video_artifact(attempt.key(VIDEO), film, *(still.artifact for still in stills))
        may_go_on = partial(self._gate.pass_or_stop, attempt)
        artifact = self._receipts.with_receipt(attempt, artifact, film.body, may_go_on)
        self._spool.put(attempt, artifact, film.body, stills, self._ladder.rung, may_go_on)
        self._ladder.succeeded(attempt)

    def _encode(self, attempt: Attempt, latents: Tensor) -> tuple[EncodedVideo, tuple[Still, Still]]:
        wish = attempt.request
        stills = Stills(wish.film_frames)
        clip = joined(attempt.source, self._renderer.decode(latents))
        frames = stills.watch(self._passing(attempt, clip))
        film = encode_mp4(frames, fps=wish.fps, expected_frames=wish.film_frames)
        film = replace(film, body=self._sign(attempt, film.body))  # last: any later change would break it
        return film, stills.finished(attempt)

    def _passing(self, attempt: Attempt, frames: Iterator[Picture]) -> Iterator[Picture]:
        count = attempt.request.film_frames
        for index, frame in enumerate(frames, start=1):
            self._gate.pass_or_stop(attempt)
            self._gate.note(attempt, Stage.ENCODE, min(index, count), count)
            if self._spec.keyframe is None and index in (1, (count + 1) // 2, count):
                self._moderator.judge_picture(attempt.held, frame)  # no keyframe could be judged before
            yield frame

    def _alone(self, attempt: Attempt, part: Callable[[Attempt], None]) -> None:
        """Do a part that concerns one attempt; whatever goes wrong in it ends that attempt only."""
        if not attempt.live:
            return
        try:
            part(attempt)
        except Stopped as stopped:
            if stopped.stop is Stop.ABANDON:
                self._checkpoints.leave(attempt)
            self._settlement.stop(attempt, stopped.stop)
        except GaveUp:
            self._settlement.stop(attempt, Stop.ABANDON)
        except Exception as error:  # noqa: BLE001 - judged, and told with its traceback, by the settlement
            self._settlement.trouble([attempt], error)

    def _together(
        self,
        attempts: Sequence[Attempt],
        stage: Stage,
        start: Progress,
        begin: Callable[[], Work[OnePerOrder[Made]]],
    ) -> list[tuple[Attempt, Made]]:
        """Step through a model stage; each attempt still live comes back with what was made for it."""
        if not attempts:
            return []

        def step_through() -> OnePerOrder[Made] | None:
            return self._step_through(attempts, stage, start, begin())

        try:
            made = self._ladder.run(attempts, stage, step_through)
        except DeviceBroken:
            raise
        except Exception as error:  # noqa: BLE001 - judged, and told with its traceback, by the settlement
            live = [attempt for attempt in attempts if attempt.live]
            self._settlement.trouble(live, error, together=len(attempts))
            return []
        if made is None:
            return []
        return [(attempt, made[index]) for index, attempt in enumerate(attempts) if attempt.live]

    def _step_through(
        self, attempts: Sequence[Attempt], stage: Stage, start: Progress, work: Work[OnePerOrder[Made]]
    ) -> OnePerOrder[Made] | None:
        """The stage's product, or None once no attempt is live: then the work is closed between two steps."""
        began = stepped = self._clock()
        self._pass_all(attempts, stage, start)
        with closing(work):
            while any(attempt.live for attempt in attempts):
                try:
                    progress = next(work)
                except StopIteration as end:
                    self._accelerator.wait()
                    self._spent(attempts, stage, self._clock() - stepped)
                    self._stage_finished(attempts, stage, began)
                    made: OnePerOrder[Made] = end.value
                    return made
                self._accelerator.wait()  # only a step that the device has really done counts as finished
                began_step, stepped = stepped, self._clock()
                self._spent(attempts, stage, stepped - began_step)
                self._tell(StepFinished(stage, progress.step, progress.steps, stepped - began_step))
                self._pass_all(attempts, stage, progress)
        return None

    def _pass_all(self, attempts: Sequence[Attempt], stage: Stage, progress: Progress) -> None:
        def pass_and_note(attempt: Attempt, row: int) -> None:
            self._checkpoints.reached(attempt, stage, progress, row)
            self._gate.pass_or_stop(attempt)
            self._gate.note(attempt, stage, progress.step, progress.steps)
            self._checkpoints.keep(attempt)
            self._previews.reached(attempt, stage, progress, row, len(attempts))

        for row, attempt in enumerate(attempts):
            self._alone(attempt, partial(pass_and_note, row=row))

    def _spent(self, attempts: Sequence[Attempt], stage: Stage, seconds: float) -> None:
        share_device_time(attempts, stage, seconds)
        self._tell(DeviceTimeSpent(stage, seconds))

    def _stage_finished(self, attempts: Sequence[Attempt], stage: Stage, began: float) -> None:
        seconds = self._clock() - began
        stage_ended(attempts, stage, seconds, self._accelerator.peak_memory())
        self._tell(StageFinished(stage, seconds, tuple(each.held for each in attempts if each.live)))
