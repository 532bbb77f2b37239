"""How a job comes into the record: the commands of a submission. The rules are in lua/submit.lua.

Each is safe to send again after StoreUnavailable.
"""

import hashlib
import json
from typing import Any

from service.contracts.cost import work_of
from service.contracts.deadline import Deadline
from service.contracts.job import VideoJob
from service.contracts.quota import Quota, QuotaReached
from service.store.forecasts import foretold
from service.store.nouns import Seen, Submission, SubmitOutcome, Submitted
from service.store.roster import pause_of
from service.store.script import Command


def submit(submission: Submission) -> Command[Submitted]:
    """Accept a job, or say why not. Repeats by job id and by idempotency key make no second record.

    Quotas are judged behind those, in the same script: a repeat never counts twice.
    """
    request = submission.request
    key, quotas = submission.idempotency_key, submission.quotas
    limits = (quotas.requests, quotas.concurrent_jobs, quotas.gpu_seconds)
    return Command(
        "submit",
        (
            submission.job_id,
            submission.tenant,
            submission.pool,
            request.model,
            request.priority,
            request.model_dump_json(),
            submission.compat,
            submission.digest,
            _name_of(key) if key else "",
            submission.queue_limit,
            submission.retention_s,
            request.webhook_url or "",
            json.dumps(submission.warnings) if submission.warnings else "",
            _moment(submission.start_by),
            _moment(submission.finish_by),
            work_of(request),
            "" if submission.repeat is None else "again" if submission.repeat else "first",
            submission.traceparent,
            quotas.window_s,
            *("" if limit is None else limit for limit in limits),
            ",".join(request.webhook_events),
        ),
        _submitted,
    )


def known(tenant: str, idempotency_key: str, digest: str) -> Command[Submitted | None]:
    """What a submission with this key and digest is answered (existing or conflict); None for a new key."""
    return Command(
        "known",
        (tenant, _name_of(idempotency_key), digest),
        lambda reply: Submitted(SubmitOutcome(reply[0]), reply[1]) if reply else None,
    )


def _submitted(reply: Any) -> Submitted:
    outcome, job_id, *why = reply
    match SubmitOutcome(outcome):
        case SubmitOutcome.CREATED if why:
            record, *before = why
            seen = Seen(VideoJob.from_record(json.loads(record)), foretold(*before))
            return Submitted(SubmitOutcome.CREATED, job_id, seen=seen)
        case SubmitOutcome.PAUSED:
            return Submitted(SubmitOutcome.PAUSED, job_id, pause=pause_of(why[0]))
        case SubmitOutcome.OVER_QUOTA:
            quota, *numbers, resets_at = why
            used, limit, wanted = map(float, numbers)
            reached = QuotaReached(Quota(quota), used, limit, wanted, float(resets_at) if resets_at else None)
            return Submitted(SubmitOutcome.OVER_QUOTA, job_id, quota=reached)
        case other:
            return Submitted(other, job_id)


def _moment(deadline: Deadline | None) -> str:
    if deadline is None:
        return ""
    return f"{'+' if deadline.relative else ''}{deadline.seconds:.6f}"


def _name_of(idempotency_key: str) -> str:
    """Clients choose the key, so it may hold anything: its sha256 is what becomes part of a name."""
    return hashlib.sha256(idempotency_key.encode()).hexdigest()
