"""How an attempt comes by its keyframe: one that is stored already, the client's own, or what stage 1 paints.

A job with a gate paints several and stops: its owner chooses one, and a later attempt goes on from there.
"""

from __future__ import annotations

from contextlib import closing
from functools import partial

from models.orders import Progress
from service.contracts.artifact import Artifact
from service.contracts.job import OWN_PICTURE
from service.contracts.keys import KEYFRAME, candidate_name
from service.contracts.lifecycle import Stage
from service.contracts.request import PictureRef
from service.storage.artifact_store import ArtifactStore, StorageUnavailable
from worker.attempt import Attempt
from worker.events import KeyframeLost, Tell
from worker.failures import BadInput
from worker.film.keyframe import CONTENT_TYPE as PNG
from worker.film.keyframe import PictureLost, picture_artifact, read_picture, to_png
from worker.moderation import Moderator
from worker.patience import Patience
from worker.renderer import OnePerOrder, Picture, Work
from worker.settlement import Settlement
from worker.source_film import last_frame, read_source
from worker.spool.spool import Spool
from worker.step_gate import StepGate
from worker.upload import Uploader


class Keyframes:
    """Fetches and keeps keyframes.

    Methods raise Stopped where the gate is closed for the attempt, and ContentRefused or CheckFailed before
    anything of a picture is stored or named.
    """

    def __init__(
        self,
        storage: ArtifactStore,
        gate: StepGate,
        uploader: Uploader,
        spool: Spool,
        settlement: Settlement,
        patience: Patience,
        moderator: Moderator,
        *,
        tell: Tell,
    ) -> None:
        self._storage, self._gate, self._uploader = storage, gate, uploader
        self._spool, self._settlement, self._patience, self._tell = spool, settlement, patience, tell
        self._moderator = moderator

    def fetch(self, attempt: Attempt) -> None:
        """The keyframe that there is before stage 1, if any. Raises BadInput where a client's own is lost."""
        request, job = attempt.request, attempt.job
        if request.input_picture is not None:
            self._take_own_picture(attempt, request.input_picture)
        elif job.keyframe is not None:
            try:
                attempt.keyframe, _ = read_picture(self._storage, job.keyframe)
                self._moderator.judge_picture(attempt.held, attempt.keyframe)  # its owner may have sent it
            except PictureLost as lost:
                self._tell(KeyframeLost(*attempt.held, str(lost)))  # stage 1 paints it again, same seed
                if job.chosen is not None and job.chosen.startswith(OWN_PICTURE):
                    raise BadInput("the stored picture that was approved is gone or altered") from lost
        if request.extends is not None:
            attempt.source = read_source(self._storage, request.extends)
            if attempt.keyframe is None:
                first = last_frame(attempt.source, request.extends)
                self.keep(attempt, first, request.num_inference_steps, Stage.IMAGE_TO_VIDEO)

    def keep(self, attempt: Attempt, picture: Picture, steps: int, now: Stage = Stage.TEXT_TO_IMAGE) -> None:
        """Make the keyframe durable, so that no crash from here on repeats stage 1, or what took its place:
        then the stage `now` of `steps` steps is about to begin.

        A storage that does not take it now gets it from the spool, before the video: the GPU does not wait.
        """
        self._moderator.judge_picture(attempt.held, picture)
        body = to_png(picture)
        height, width, _ = picture.shape
        artifact = picture_artifact(attempt.key(KEYFRAME), body, width, height)
        attempt.keyframe = picture
        if self._stored(attempt, body):
            self._note(attempt, artifact, now, steps if now is Stage.TEXT_TO_IMAGE else 0, steps)
        else:
            attempt.unstored_keyframe = artifact, body

    def offer(self, attempt: Attempt, picture: Picture, steps: int) -> None:
        """Keep a candidate of `steps` steps for the owner to choose from; the last one ends the attempt.

        Raises StorageUnavailable: nobody can choose what nobody can see, so the job waits for the storage.
        """
        gate = attempt.request.gate
        assert gate is not None
        self._moderator.judge_picture(attempt.held, picture)
        index = len(attempt.candidates)
        body = to_png(picture)
        height, width, _ = picture.shape
        name = candidate_name(index)
        artifact = picture_artifact(attempt.key(name), body, width, height)
        self._uploader.put(attempt, name, body, PNG, self._may_go_on(attempt))
        attempt.candidates = (*attempt.candidates, artifact)
        self._patience.ask(
            "note",
            partial(self._gate.note_candidates, attempt, (index + 1) * steps, gate.candidates * steps),
            self._may_go_on(attempt),
        )
        self.hold_if_whole(attempt)

    def hold_if_whole(self, attempt: Attempt) -> None:
        """Park the attempt once all candidates are there: nothing of stage 2 is spent before the choice."""
        gate = attempt.request.gate
        if gate is not None and len(attempt.candidates) >= gate.candidates:
            self._settlement.hold(attempt, gate.approval_s)

    def _take_own_picture(self, attempt: Attempt, own: PictureRef) -> None:
        try:
            attempt.keyframe, body = read_picture(self._storage, own)
        except PictureLost as lost:
            self._tell(KeyframeLost(*attempt.held, str(lost)))
            raise BadInput("input_reference: the stored picture is gone or altered, send it again") from lost
        self._moderator.judge_picture(attempt.held, attempt.keyframe)
        artifact = picture_artifact(own.key, body, own.width, own.height)
        self._note(attempt, artifact, Stage.IMAGE_TO_VIDEO, 0, attempt.request.num_inference_steps)

    def _stored(self, attempt: Attempt, keyframe: bytes) -> bool:
        if self._spool.storage_away:
            return False
        try:
            self._uploader.put(attempt, KEYFRAME, keyframe, PNG, self._may_go_on(attempt))
        except StorageUnavailable:
            return False
        return True

    def _note(self, attempt: Attempt, artifact: Artifact, stage: Stage, step: int, steps: int) -> None:
        send = partial(self._gate.note_keyframe, attempt, artifact, stage, step, steps)
        self._patience.ask("note", send, self._may_go_on(attempt))

    def _may_go_on(self, attempt: Attempt) -> partial[None]:
        return partial(self._gate.pass_or_stop, attempt)


def counted_among(
    work: Work[OnePerOrder[Picture]], candidate: int, candidates: int
) -> Work[OnePerOrder[Picture]]:
    """The same work, its steps counted as those of the candidate `candidate` among all of a gate."""
    with closing(work):
        while True:
            try:
                progress = next(work)
            except StopIteration as end:
                made: OnePerOrder[Picture] = end.value
                return made
            done = candidate * progress.steps + progress.step
            yield Progress(done, candidates * progress.steps, progress.keep, progress.look)
