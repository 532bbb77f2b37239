"""The commands on a job's record, as values that either runner can carry; submitting.py has the first.

Each one is safe to send again after StoreUnavailable. The rules themselves are in lua/<script>.lua.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from service.contracts.artifact import Artifact
from service.contracts.event import Event
from service.contracts.failure import Failure, FailureCode
from service.contracts.job import VideoJob
from service.contracts.lifecycle import State
from service.contracts.preview import Preview
from service.contracts.remains import Remains
from service.store.errors import UnknownCursor, UnreadableRecord
from service.store.forecasts import foretold
from service.store.nouns import (
    ApproveOutcome,
    Beat,
    Cancelled,
    CancelOutcome,
    Claim,
    Claimed,
    DeleteOutcome,
    Doomed,
    Expired,
    Failed,
    Finished,
    Gone,
    Note,
    Order,
    Outcome,
    Page,
    Reaped,
    Seen,
    Succeeded,
)
from service.store.script import Command, pairs

#: How a job ends whose record a worker cannot read, though the scripts can.
UNREADABLE = Failed(
    Failure(code=FailureCode.INTERNAL, message="The record of this video cannot be read.", retryable=True)
)


def get(tenant: str, job_id: str) -> Command[VideoJob | None]:
    """The tenant's job, or None if there is none (or none any more). Raises UnreadableRecord."""
    return Command("get", (job_id, tenant), _job_or_none)


def look(tenant: str, job_id: str) -> Command[Seen | None]:
    """The tenant's job with what lies before it; None as `get`."""
    return Command(
        "get", (job_id, tenant), lambda reply: Seen(_job(reply[0]), foretold(*reply[1:])) if reply else None
    )


def gone(tenant: str, job_id: str) -> Command[Gone | None]:
    """The tenant's (empty: anybody's) job whose retention was over in the last 30 days; else None."""
    return Command("gone", (tenant, job_id), _gone_or_none)


def record(job_id: str) -> Command[VideoJob | None]:
    """The record whoever owns it, tombstones included: for the janitor, not for clients.

    Raises UnreadableRecord.
    """
    return Command("get", (job_id, ""), _job_or_none)


def list_jobs(
    tenant: str, after: str | None, limit: int, order: Order, metadata: Mapping[str, str] | None = None
) -> Command[Page]:
    """Up to `limit` jobs in order of arrival, from the one behind `after`; only those with all of `metadata`.

    `after` may be a job deleted within the last hour: its place outlives it. A job whose record cannot be
    read is left out. Raises UnknownCursor.
    """

    def parse(reply: Any) -> Page:
        if reply[0] == "unknown":
            raise UnknownCursor(after or "")
        return Page(tuple(job for job in _read(reply[2]) if isinstance(job, VideoJob)), reply[1] == 1)

    return Command("list", (tenant, after or "", limit, order, json.dumps(dict(metadata or {}))), parse)


def events(tenant: str, job_id: str, after: int, limit: int) -> Command[tuple[Event, ...]]:
    """Up to `limit` of the job's kept events with seq > `after`; empty if the tenant has no such job."""
    return Command(
        "events",
        (job_id, tenant, after, limit),
        lambda reply: tuple(Event.from_fields(pairs(fields)) for _, fields in reply),
    )


def cancel(tenant: str, job_id: str) -> Command[CancelOutcome]:
    """Call a job off. Wins over any finish that has not been committed."""
    return Command("cancel", (job_id, tenant), CancelOutcome)


def delete(tenant: str, job_id: str) -> Command[DeleteOutcome]:
    """Hide a job at once, call it off if need be, and doom its record and objects."""
    return Command("delete", (job_id, tenant), DeleteOutcome)


def approve(tenant: str, job_id: str, chosen: str, keyframe: Artifact) -> Command[ApproveOutcome]:
    """Let a job that awaits approval go on with stage 2 from `keyframe` (push a ticket afterwards).

    `chosen` says which it is: the number of a candidate, or OWN_PICTURE and a sha256.
    """
    return Command("approve", (job_id, tenant, chosen, keyframe.model_dump_json()), ApproveOutcome)


def claim(
    pool: str,
    worker: str,
    limit: int,
    lease_s: float,
    models: Sequence[str],
    known: Sequence[tuple[str, int]] = (),
) -> Command[Claimed]:
    """Take up to `limit` jobs of one compat key, fair across tenants by GPU seconds, for one of `models`.

    Nothing while the pool is paused or `worker` is to drain; no tenant gets more than its running cap, and a
    job whose deadline has passed expires instead.

    `known` are the attempts that the worker holds and knows of. Whatever else the record says that it holds
    is answered again (a reply was lost on the way), so no claim is ever forgotten. Attempts at jobs that
    cannot be read must be finished as UNREADABLE, or they are answered again and again.
    """

    def parse(reply: Any) -> Claimed:
        claims, unreadable = [], []
        for job in _read(reply[1]):
            if isinstance(job, VideoJob):
                left_s = None if job.finish_by is None else job.finish_by - float(reply[0])
                claims.append(Claim(job, job.attempt, left_s))
            else:
                unreadable.append((job["id"], int(job["attempt"])))
        return Claimed(tuple(claims), tuple(unreadable))

    held = " ".join(lease(job_id, attempt) for job_id, attempt in known)
    return Command("claim", (pool, worker, limit, lease_s, held, *models), parse)


def beat(worker: str, held: Sequence[tuple[str, int]], lease_s: float) -> Command[dict[str, Beat]]:
    """Renew the leases of the attempts (job id, attempt) that `worker` holds; one answer per job id."""
    return Command(
        "beat",
        (worker, lease_s, *(lease(job_id, attempt) for job_id, attempt in held)),
        lambda reply: {job_id: Beat(answer) for (job_id, _), answer in zip(held, reply, strict=True)},
    )


def note(job_id: str, attempt: int, progress: Note) -> Command[bool]:
    """Put progress (and a keyframe or checkpoint) into the record; False if the attempt is not current."""
    return Command(
        "note",
        (
            job_id,
            attempt,
            progress.stage,
            progress.step,
            progress.steps,
            progress.progress,
            progress.keyframe.model_dump_json() if progress.keyframe else "",
            progress.checkpoint.model_dump_json() if progress.checkpoint else "",
            _list(progress.candidates),
        ),
        bool,
    )


def preview(job_id: str, attempt: int, number: int, shown: Preview) -> Command[bool]:
    """Show `shown` in place of the attempt's earlier previews, whose `number` (from 1) was less.

    False if the attempt is not current.
    """
    return Command("preview", (job_id, attempt, number, shown.model_dump_json()), bool)


def finish(
    job_id: str, attempt: int, outcome: Outcome, gpu_seconds: float | None = None
) -> Command[Finished]:
    """End the job with this attempt's outcome, unless a cancel or another attempt came first.

    `gpu_seconds` is what the attempt took of a GPU: its tenant is charged that in place of the estimate.
    """
    match outcome:
        case Succeeded(artifact, usage):
            args = (State.SUCCEEDED, artifact.model_dump_json(), json.dumps(dict(usage)))
        case Failed(failure):
            args = (State.FAILED, failure.model_dump_json(), "")
        case Expired(failure):
            args = (State.EXPIRED, failure.model_dump_json(), "")
        case Cancelled():
            args = (State.CANCELLED, "", "")
    return Command(
        "finish",
        (job_id, attempt, *args, "" if gpu_seconds is None else gpu_seconds),
        lambda reply: Finished(reply[0] == 1, reply[1], State(reply[2]) if reply[2] else None, reply[3] == 1),
    )


def release(
    job_id: str, attempt: int, reason: str, counts_as_loss: bool, alone: bool, max_lost: int
) -> Command[bool]:
    """Hand a running attempt back to the queue (push a ticket afterwards); False if it is not current.

    `counts_as_loss` treats it as a worker's death; `alone` keeps the next attempt out of any batch.
    """
    return Command("release", (job_id, attempt, reason, int(counts_as_loss), int(alone), max_lost), bool)


def hold(job_id: str, attempt: int, approval_s: float, spent: Mapping[str, float]) -> Command[bool]:
    """Park a running attempt behind its noted candidates until approved, for at most `approval_s` seconds.

    `spent` is its usage so far, with `gpu_seconds`: its tenant is charged that if nobody approves, else the
    next attempt adds it to its own. False if the attempt is not current. A job that was called off meanwhile
    ends cancelled instead.
    """
    args = (job_id, attempt, approval_s, json.dumps(dict(spent)), spent.get("gpu_seconds", ""))
    return Command("hold", args, bool)


def reap(lease_s: float, max_lost: int, every_s: float) -> Command[Reaped]:
    """Requeue or end jobs whose worker fell silent, expire those whose deadline has passed.

    A job whose record no script can go by is set aside, and taken back once it is mended.
    At most once per `every_s` among all callers.
    """
    return Command(
        "reap",
        (lease_s, max_lost, every_s),
        lambda reply: Reaped(
            ran=reply[0] == 1,
            extended=reply[1] == 1,
            ids=tuple(reply[2]),
            expired=tuple(reply[3]),
            wanted={pool: int(count) for pool, count in pairs(reply[4]).items()},
            left=reply[5],
            aside={job_id: json.loads(kept)["flaw"] for job_id, kept in pairs(reply[6]).items()},
        ),
    )


def doomed(limit: int) -> Command[tuple[Doomed, ...]]:
    """Ended jobs whose retention is over or that were deleted: delete their objects, then purge."""
    return Command("doomed", (limit,), lambda reply: tuple(Doomed(*found) for found in reply))


def purge(job_id: str) -> Command[bool]:
    """Forget a doomed job; False if it is gone already or its time has not come."""
    return Command("purge", (job_id,), bool)


def lease(job_id: str, attempt: int) -> str:
    """The name of an attempt's lease."""
    return f"{job_id}|{attempt}"


def _list(artifacts: Sequence[Artifact]) -> str:
    return f"[{','.join(artifact.model_dump_json() for artifact in artifacts)}]" if artifacts else ""


def _job(record: str) -> VideoJob:
    fields = json.loads(record)
    try:
        return VideoJob.from_record(fields)
    except ValueError as error:
        raise UnreadableRecord(fields.get("id", "")) from error


def _read(records: Sequence[str]) -> Iterator[VideoJob | Mapping[str, str]]:
    """Each job, or its bare fields where they cannot be read: one must not take the others with it."""
    for record in records:
        try:
            yield _job(record)
        except UnreadableRecord:
            fields: Mapping[str, str] = json.loads(record)
            yield fields


def _gone_or_none(kept: str | None) -> Gone | None:
    if kept is None:
        return None
    try:
        return Gone(Remains.model_validate_json(kept))
    except ValueError:  # of a version that kept nothing, or changed by hand
        return Gone()


def _job_or_none(reply: Any) -> VideoJob | None:
    return _job(reply[0]) if reply else None
