"""Keys in Redis that nobody will ever clear away."""

from __future__ import annotations

from collections.abc import Iterator

from redis import Redis

from service.store.script import text

OURS = "{mc}:"
#: Empty once every job has ended; whatever is left under these names belongs to a job that is not there.
OF_UNFINISHED_JOBS = frozenset({"aside", "leases", "held", "ready", "queue", "tenants"})
#: Left to Redis to forget, once the job or the worker has ended.
WITH_AN_END = frozenset({"idempotency", "worker", "delivery"})


def orphans(redis: Redis) -> Iterator[str]:
    """Names of orphans, on a server on which all jobs have ended."""
    keys = set(text(list(redis.scan_iter("*", count=1000))))
    jobs = {key.removeprefix("{mc}:job:") for key in keys if key.startswith("{mc}:job:")}
    counted = sum(int(count) for count in redis.hvals("{mc}:states"))
    if counted != len(jobs):
        yield f"{{mc}}:states counts {counted} records, there are {len(jobs)}"
    tickets = _tickets_with_an_owner(redis, keys)
    for key in sorted(keys):
        if key.startswith(OURS):
            if _is_orphan(redis, key, jobs):
                yield key
        elif key.startswith("rq:job:"):
            if redis.ttl(key) == -1 and key.removeprefix("rq:job:") not in tickets:
                yield key
        elif key.startswith("rq:worker:") and redis.ttl(key) == -1:
            yield key


def _is_orphan(redis: Redis, key: str, jobs: set[str]) -> bool:
    kind, _, rest = key.removeprefix(OURS).partition(":")
    if kind == "job":
        return redis.zscore("{mc}:doomed", rest) is None
    if kind == "events":
        return rest not in jobs
    return kind in OF_UNFINISHED_JOBS or (kind in WITH_AN_END and redis.ttl(key) == -1)


def _tickets_with_an_owner(redis: Redis, keys: set[str]) -> set[str]:
    """Tickets in a queue, or in a registry that RQ's own maintenance clears."""
    owned: set[str] = set()
    for key in keys:
        if key.startswith("rq:queue:") and redis.type(key) == b"list":  # RQ keeps marks beside its queues
            owned.update(text(redis.lrange(key, 0, -1)))
        elif key.startswith(("rq:wip:", "rq:failed:", "rq:finished:")):
            owned.update(ticket.split(":")[0] for ticket in text(redis.zrange(key, 0, -1)))
    return owned
