"""The gateway's use-cases: accept a video, show it, list, cancel and delete it.

A 202 is a promise, so it is given only for what the record has confirmed; whatever is not certain is a 503,
and with an Idempotency-Key it is always safe to send the same again.
"""

import asyncio
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from service.access import Shelf, reaching_record
from service.bell import Bell
from service.contracts.compat import compat_key
from service.contracts.ids import is_id, new_video_id
from service.contracts.job import VideoJob
from service.contracts.quota import NO_QUOTAS, Quotas
from service.contracts.request import MAX_SEED, Fit
from service.fields.aliases import Aliases, in_our_words
from service.fields.deadlines import approval_faults, deadline_faults, retention_faults
from service.fields.references import Picture
from service.fields.video import read_fields
from service.fields.vocabulary import unknown_words
from service.intake.admission import (
    Accepted,
    Origin,
    as_made,
    checked_idempotency_key,
    checked_request,
    chosen_model,
    credited,
    gate_of,
    request_digest,
    webhook_faults,
)
from service.intake.catalogue import Catalogue
from service.intake.picture_intake import PictureIntake
from service.refusals import (
    AlreadyFinished,
    FieldFault,
    IdempotencyConflict,
    IntakePaused,
    InvalidFields,
    QueueFull,
    QuotaExceeded,
    RecordUnavailable,
    Refusal,
    UnknownVideo,
    VideoGone,
    shown,
)
from service.ssrf import Guard
from service.store.errors import StoreUnavailable, UnknownCursor
from service.store.nouns import (
    CancelOutcome,
    DeleteOutcome,
    Order,
    Page,
    Pause,
    Seen,
    Submission,
    SubmitOutcome,
    Submitted,
)
from service.store.store import AsyncJobStore
from service.tracing import current_traceparent

#: Pauses before a submission whose answer was lost is sent again, with the same job id (seconds).
SUBMIT_PAUSES_S = (0.05, 0.2)
DAY_S = 86_400.0


@dataclass(frozen=True)
class Intake:
    """Use-cases on the record. Every method may raise RecordUnavailable.

    `queue_limit` bounds the jobs that wait in one pool; `retention_s` is how long an ended job stays (s),
    `approval_s` how long one waits for its keyframe to be approved.
    `quotas` are those of every owner that has none of its own; `guard` judges where webhooks lead.
    `draw_seed` gives a whole number below its argument, `new_id` a fresh job id, `clock` Unix seconds.
    """

    jobs: AsyncJobStore
    pictures: PictureIntake
    bell: Bell
    catalogue: Catalogue
    aliases: Aliases
    queue_limit: int
    retention_s: float
    guard: Guard
    clock: Callable[[], float]
    new_id: Callable[[], str] = new_video_id
    approval_s: float = DAY_S
    quotas: Quotas = NO_QUOTAS
    draw_seed: Callable[[int], int] = secrets.randbelow

    @property
    def shelf(self) -> Shelf:
        """Where the files are."""
        return self.pictures.shelf

    async def submit(
        self,
        tenant: str,
        given: Mapping[str, object],
        picture: Picture | None = None,
        idempotency_key: str | None = None,
        origin: Origin | None = None,
        *,
        repeat: bool | None = None,
    ) -> Accepted:
        """Accepts a video: `given` are the fields as the client wrote them, `picture` the client's own.

        `repeat` says whether a library sends this again by itself (None: unknown); a key goes before it.
        Raises InvalidFields (with every fault found), UnknownModel, NoModelYet, IdempotencyConflict,
        IntakePaused, QuotaExceeded, QueueFull, ContentUnavailable or ServiceBusy; then nothing has been
        accepted.
        """
        key = checked_idempotency_key(idempotency_key)
        asked, faults = read_fields(given)
        digest = request_digest(asked, picture) if origin is None else origin.digest
        before = None if faults else await self.made_before(tenant, key, digest)
        if before is not None:
            return before
        ours, asked_as = in_our_words(given, self.aliases)
        if asked_as:
            asked, faults = read_fields(ours)
        faults += deadline_faults(asked, given, self.clock()) + approval_faults(asked, given)
        faults += retention_faults(asked, given, self.retention_s) + webhook_faults(asked, self.guard)
        spec = chosen_model(await self.catalogue.lately(asked.model), asked, faults, self.aliases)
        own_picture = picture is not None or (origin is not None and origin.film is not None)
        seed = self.draw_seed(MAX_SEED + 1) if asked.seed is None else asked.seed
        request = checked_request(asked, spec, faults, seed, own_picture)
        gate = gate_of(asked, self.approval_s)
        if asked_as or gate is not None:
            request = request.model_copy(update={"asked_as": asked_as, "gate": gate})
        job_id = self.new_id()
        if origin is not None:
            request = await self.pictures.take_origin(request, origin, tenant, job_id)
        if picture is not None:
            fit = asked.fit or Fit.EXACT
            request = await self.pictures.take(request, fit, picture, spec, tenant, job_id)
            request = credited(request, origin)
        submission = Submission(
            job_id=job_id,
            tenant=tenant,
            request=request,
            pool=spec.pool,
            compat=compat_key(request, spec, spec.first_stage(own_picture=own_picture)),
            digest=digest,
            queue_limit=self.queue_limit,
            retention_s=self.retention_s if asked.expires_after is None else asked.expires_after.seconds,
            idempotency_key=key,
            warnings=unknown_words(request.prompt, spec),
            start_by=asked.start_by,
            finish_by=asked.finish_by,
            repeat=repeat if key is None else None,
            traceparent=current_traceparent(),
            quotas=self.quotas,
        )
        return await self.accept(submission)

    async def accept(self, submission: Submission) -> Accepted:
        """Puts a whole submission, whose pictures are stored, on record, or takes the pictures back.

        Raises IdempotencyConflict, IntakePaused, QuotaExceeded or QueueFull.
        """
        submitted = await self._submitted(submission)
        if submitted.outcome is SubmitOutcome.CREATED:
            self.bell.work_in(submission.pool)
            seen = submitted.seen or Seen(await self._as_created(submission))
            return Accepted(seen.job, created=True, forecast=seen.forecast)
        await self.pictures.forget(submission.request)
        if submitted.pause is not None:
            raise _paused(submitted.pause)
        if submitted.quota is not None:
            raise QuotaExceeded(submitted.quota)
        if submitted.outcome is SubmitOutcome.FULL:
            raise QueueFull(f"{self.queue_limit} or more videos wait already; try again later")
        return await self._as_before(submission.tenant, submission.idempotency_key, submitted)

    async def made_before(self, tenant: str, key: str | None, digest: str) -> Accepted | None:
        """The job that this Idempotency-Key made, None for a new one. Raises IdempotencyConflict.

        The record says it all: neither a model nor the storage has to be there.
        """
        if key is None:
            return None
        async with reaching_record():
            known = await self.jobs.known(tenant, key, digest)
        return None if known is None else await self._as_before(tenant, key, known)

    async def show(self, tenant: str, job_id: str) -> VideoJob:
        """The job. Raises UnknownVideo, or VideoGone once its retention is over."""
        return (await self.look(tenant, job_id)).job

    async def look(self, tenant: str, job_id: str) -> Seen:
        """The job with what lies before it, by one question to the record. Raises as `show`."""
        _check_id(job_id)
        async with reaching_record():
            seen = await self.jobs.look(tenant, job_id)
        if seen is None:
            raise await self.missing(tenant, job_id)
        return seen

    async def page(
        self, tenant: str, after: str | None, limit: int, order: Order, metadata: Mapping[str, str]
    ) -> Page:
        """Up to `limit` jobs with all of `metadata`, by arrival, behind `after`. Raises InvalidFields."""
        fault = FieldFault.of("after", after, "the id of one of your videos")
        if after is not None and not is_id(after):
            raise InvalidFields([fault])
        try:
            async with reaching_record():
                return await self.jobs.list_jobs(tenant, after, limit, order, metadata)
        except UnknownCursor:
            raise InvalidFields([fault]) from None

    async def cancel(self, tenant: str, job_id: str) -> VideoJob:
        """The job after calling it off; while a worker still has to stop, it runs with `cancel_requested`.

        A repeat answers the same. Raises UnknownVideo or AlreadyFinished.
        """
        _check_id(job_id)
        async with reaching_record():
            outcome = await self.jobs.cancel(tenant, job_id)
        if outcome is CancelOutcome.MISSING:
            raise await self.missing(tenant, job_id)
        job = await self.show(tenant, job_id)
        if outcome is CancelOutcome.TERMINAL:
            raise AlreadyFinished(f"the video {job_id} has ended already: it is {job.state}")
        if outcome is CancelOutcome.FLAGGED and job.worker:
            await self.bell.call_off(job.worker, job_id)
        return job

    async def delete(self, tenant: str, job_id: str) -> None:
        """Hides the job at once; its files and record follow. Raises UnknownVideo."""
        _check_id(job_id)
        async with reaching_record():
            outcome = await self.jobs.delete(tenant, job_id)
        if outcome is DeleteOutcome.MISSING:
            raise await self.missing(tenant, job_id)

    async def _submitted(self, submission: Submission) -> Submitted:
        """Sent again with the same id while the answer is lost: the script makes one record of them all."""
        async with reaching_record():
            for pause_s in SUBMIT_PAUSES_S:
                try:
                    return await self.jobs.submit(submission)
                except StoreUnavailable:
                    ours = asyncio.current_task()
                    if ours is not None and ours.cancelling():
                        raise  # time is up: the Redis client took our cancellation for its own timeout
                    await asyncio.sleep(pause_s)
            return await self.jobs.submit(submission)

    async def _as_before(self, tenant: str, key: str | None, known: Submitted) -> Accepted:
        """The job that an earlier submission made. Raises IdempotencyConflict if that was another request."""
        if known.outcome is SubmitOutcome.CONFLICT:
            raise IdempotencyConflict(
                f"Idempotency-Key {shown(key)} belongs to another request", param="Idempotency-Key"
            )
        return Accepted(await self.show(tenant, known.job_id), created=False)

    async def _as_created(self, submission: Submission) -> VideoJob:
        """The record as it stands or, if Redis has gone away since, as it was made. The 202 holds."""
        try:
            return await self.show(submission.tenant, submission.job_id)
        except (RecordUnavailable, UnknownVideo):
            return as_made(submission, self.clock())

    async def missing(self, tenant: str, job_id: str) -> Refusal:
        """What to answer for a job that the tenant (empty: nobody) does not have."""
        async with reaching_record():
            gone = await self.jobs.gone(tenant, job_id)
        if gone is None:
            return _unknown(job_id)
        return VideoGone(f"the time of the video {job_id} is over", gone.remains)


def _check_id(job_id: str) -> None:
    if not is_id(job_id):
        raise _unknown(job_id)


def _paused(pause: Pause) -> IntakePaused:
    since = datetime.fromtimestamp(pause.since, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    return IntakePaused(f"no new videos are accepted since {since}: {pause.reason}; accepted ones go on")


def _unknown(job_id: str) -> UnknownVideo:
    return UnknownVideo(f"no video {shown(job_id)}", param="video_id")
