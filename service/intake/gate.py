"""The keyframe gate: a job that shows its keyframes and goes on with the one that its owner takes."""

import hashlib
from collections.abc import Mapping
from itertools import islice

from service.access import reaching_record
from service.contracts.artifact import Artifact
from service.contracts.job import OWN_PICTURE, VideoJob
from service.contracts.keys import chosen_picture_key
from service.contracts.lifecycle import State
from service.contracts.request import Fit
from service.fields.readers import read_whole_number
from service.fields.references import Picture
from service.fields.video import PICTURE_FIELD
from service.intake.intake import Intake
from service.refusals import MAX_UNKNOWN_NAMED, FieldFault, InvalidFields, NotAwaitingApproval
from service.store.nouns import ApproveOutcome

CANDIDATE, FIT = "candidate", "fit"


async def approve(
    intake: Intake, tenant: str, video_id: str, given: Mapping[str, object], picture: Picture | None
) -> VideoJob:
    """The job, on its way to stage 2 from the candidate that `given` names, or from the client's `picture`.

    The same choice again answers the same. Raises UnknownVideo, VideoGone, NotAwaitingApproval,
    InvalidFields or ContentUnavailable; after any of them the job waits as before.
    """
    index, fit = _asked(given, picture)
    job = await intake.show(tenant, video_id)
    if not job.candidates:
        raise _not_waiting(job)
    if picture is None:
        index = _checked(index, len(job.candidates))
        chosen, keyframe = str(index), job.candidates[index]
    else:
        keyframe = await _stored(intake, job, picture, fit)
        chosen = OWN_PICTURE + keyframe.sha256
    async with reaching_record():
        outcome = await intake.jobs.approve(tenant, video_id, chosen, keyframe)
    if outcome is ApproveOutcome.APPROVED:
        intake.bell.work_in(job.pool)
    now = await intake.show(tenant, video_id)
    if outcome is ApproveOutcome.NOT_WAITING:
        raise _not_waiting(now)
    return now


def _asked(given: Mapping[str, object], picture: Picture | None) -> tuple[int | None, Fit]:
    unknown = ((name, value) for name, value in given.items() if name not in (CANDIDATE, FIT))
    faults = [
        FieldFault.unknown(name, value, (CANDIDATE, FIT, PICTURE_FIELD))
        for name, value in islice(unknown, MAX_UNKNOWN_NAMED)
    ]
    index = _whole(given.get(CANDIDATE), faults)
    fit = given.get(FIT)
    if fit is not None and fit not in tuple(Fit):
        faults.append(FieldFault.of(FIT, fit, f"one of {', '.join(Fit)}"))
    elif fit is not None and picture is None:
        faults.append(FieldFault.of(FIT, fit, f"left out without {PICTURE_FIELD}"))
    if picture is not None and index is not None:
        faults.append(FieldFault.of(CANDIDATE, index, f"left out beside {PICTURE_FIELD}"))
    if faults:
        raise InvalidFields(faults)
    return index, Fit.EXACT if fit is None else Fit(str(fit))


def _whole(value: object, faults: list[FieldFault]) -> int | None:
    if value is None:
        return None
    try:
        return read_whole_number(value)
    except ValueError:
        faults.append(FieldFault.of(CANDIDATE, value, "a whole number"))
        return None


def _checked(index: int | None, count: int) -> int:
    """One candidate needs no number."""
    if index is None and count == 1:
        return 0
    bound = f"0 to {count - 1}"
    if index is None:
        raise InvalidFields([FieldFault(CANDIDATE, "", bound, f"{CANDIDATE} is required: {bound}")])
    if not 0 <= index < count:
        raise InvalidFields([FieldFault.of(CANDIDATE, index, bound)])
    return index


async def _stored(intake: Intake, job: VideoJob, picture: Picture, fit: Fit) -> Artifact:
    """The client's picture, stored before the record names it. Not for jobs that could not take it."""
    size = (job.request.width, job.request.height)
    entries = {entry.spec.name: entry.spec for entry in await intake.catalogue.now()}
    spec = entries.get(job.request.model)
    pixels = size[0] * size[1] if spec is None else spec.max_picture_pixels
    raw = await intake.pictures.file_of(picture)
    png = await intake.pictures.as_png(raw, size, fit, pixels)
    sha256 = hashlib.sha256(png).hexdigest()
    if job.state is not State.AWAITING_APPROVAL and job.chosen != OWN_PICTURE + sha256:
        raise _not_waiting(job)
    stored = await intake.shelf.put(chosen_picture_key(job.tenant, job.id, sha256), png, "image/png")
    return Artifact(
        key=stored.key,
        content_type="image/png",
        bytes=len(png),
        sha256=sha256,
        width=size[0],
        height=size[1],
        upload=await intake.pictures.keep_upload(raw, job.tenant, job.id),
    )


def _not_waiting(job: VideoJob) -> NotAwaitingApproval:
    if job.request.gate is None:
        return NotAwaitingApproval(f"the video {job.id} has no gate: it was asked for without pause_after")
    if job.chosen is not None:
        return NotAwaitingApproval(f"the video {job.id} has another keyframe already: it is {job.state}")
    return NotAwaitingApproval(f"the video {job.id} is {job.state} and has nothing to approve")
