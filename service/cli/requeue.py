"""`microcinema admin requeue`: a failed job again, as a job of its own.

What has ended stays ended: its owner was told so once, by one last event, and builds on it. So the same
request becomes a new job of the same owner, which has its own events, its own webhooks and its own end.
"""

import hashlib
from dataclasses import dataclass

from redis import Redis

from service.contracts.ids import new_video_id
from service.contracts.job import VideoJob
from service.contracts.keys import REDIS_KEYS, artifact_prefix
from service.contracts.lifecycle import State
from service.contracts.request import VideoRequest
from service.storage.artifact_store import ArtifactStore
from service.store.errors import reaching_redis
from service.store.nouns import Submission, SubmitOutcome
from service.store.script import Store
from service.store.store import JobStore

#: An operator's wish goes before the bound of the queue.
_ANY_NUMBER = 10**9
_REQUEUED = frozenset({State.FAILED, State.EXPIRED})


@dataclass(frozen=True)
class Requeued:
    """`job_id` has the same order as `source`; `created` is False where an earlier requeue made it."""

    source: str
    job_id: str
    created: bool


@dataclass(frozen=True)
class Requeue:
    """Works on record and storage. May raise StoreUnavailable, NewerRecord and StorageError."""

    redis: Redis
    storage: ArtifactStore

    def again(self, job_id: str) -> Requeued:
        """The job's order (same seed, same picture, no deadlines) as a new job; asked again, the same one.

        Raises ValueError for what is no job, has not failed or expired, or while the intake is paused.
        """
        jobs = JobStore(Store(self.redis))
        source = jobs.record(job_id)
        if source is None or source.deleted:
            raise ValueError(f"no video {job_id!r}")
        if source.state not in _REQUEUED:
            raise ValueError(f"{job_id} is {source.state}: only what failed or expired can be queued again")
        key, digest = (
            f"microcinema-requeue {job_id}",
            hashlib.sha256(f"requeue {job_id}".encode()).hexdigest(),
        )
        known = jobs.known(source.tenant, key, digest)
        if known is not None:
            return Requeued(job_id, known.job_id, created=False)
        new_id = new_video_id()
        submitted = jobs.submit(
            Submission(
                job_id=new_id,
                tenant=source.tenant,
                request=self._copied(source, new_id),
                pool=source.pool,
                compat=source.compat,
                digest=digest,
                queue_limit=_ANY_NUMBER,
                retention_s=self._retention_s(job_id),
                idempotency_key=key,
                warnings=source.warnings,
            )
        )
        if submitted.outcome is SubmitOutcome.CREATED:
            return Requeued(job_id, submitted.job_id, created=True)
        for stored in self.storage.list(artifact_prefix(source.tenant, new_id)):
            self.storage.delete(stored.key)
        if submitted.pause is not None:
            raise ValueError(f"the intake is paused: {submitted.pause.reason}")
        return Requeued(job_id, submitted.job_id, created=False)

    def _copied(self, source: VideoJob, new_id: str) -> VideoRequest:
        """The request with its own copies of what it begins from: the old job's objects go with that job."""
        request, changed = source.request, dict[str, object](remixed_from=source.id)
        old, new = artifact_prefix(source.tenant, source.id), artifact_prefix(source.tenant, new_id)

        def copy(key: str, kind: str) -> dict[str, object]:
            new_key = new + key.removeprefix(old)
            self.storage.put(new_key, b"".join(self.storage.read(key)), kind)
            return {"key": new_key}

        if (own := request.input_picture) is not None:
            keys = copy(own.key, "image/png")
            if (sent := own.upload) is not None:
                keys["upload"] = sent.model_copy(update=copy(sent.key, sent.content_type))
            changed["input_picture"] = own.model_copy(update=keys)
        if (film := request.extends) is not None:
            changed["extends"] = film.model_copy(update=copy(film.key, "video/mp4"))
        return request.model_copy(update=changed)

    def _retention_s(self, job_id: str) -> float:
        with reaching_redis():
            kept = self.redis.hget(REDIS_KEYS["JOB"] + job_id, "retention_s")
        if kept is None:
            raise ValueError(f"no video {job_id!r} any more")
        return float(kept)
