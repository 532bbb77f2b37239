"""`microcinema tenant jobs`: what all owners have in hand, for whoever runs the service."""

import argparse
from collections.abc import Iterator

from redis import Redis

from service.contracts.job import VideoJob
from service.contracts.keys import REDIS_KEYS
from service.store.errors import NewerRecord, reaching_redis
from service.store.script import Store
from service.store.store import JobStore

_AT_ONCE = 500


def list_in_hand(redis: Redis, chosen: argparse.Namespace) -> int:
    """Prints every job that has not ended, of the named tenant or of all, the oldest first."""
    jobs = sorted(_jobs(redis, chosen.tenant), key=lambda job: (job.created_at, job.id))
    for job in jobs:
        where = f"on {job.worker}" if job.worker else f"in pool {job.pool}"
        print(f"{job.tenant}  {job.id}  {job.state}  {job.progress:3} %  {job.request.model}  {where}")
    print(f"{len(jobs)} in hand")
    return 0


def _jobs(redis: Redis, tenant: str | None) -> Iterator[VideoJob]:
    """A look, not a snapshot: what ends meanwhile may be told, what comes meanwhile may not."""
    store, prefix = JobStore(Store(redis)), REDIS_KEYS["IN_HAND"]
    with reaching_redis():
        names = [prefix + tenant] if tenant else [name.decode() for name in _scan(redis, prefix)]
        held = [member.decode() for name in names for member in redis.sscan_iter(name, count=_AT_ONCE)]
    for job_id in held:
        try:
            job = store.record(job_id)
        except NewerRecord as error:
            print(error)
            continue
        if job is not None and not job.terminal:
            yield job


def _scan(redis: Redis, prefix: str) -> Iterator[bytes]:
    found: Iterator[bytes] = redis.scan_iter(match=f"{prefix}*", count=_AT_ONCE)
    return found
