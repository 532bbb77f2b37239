"""Looks for keys in Redis that nobody owns and nothing will ever remove.

Every kind of key has one owner or a time to live (service/contracts/keys.py). A look is not atomic, so a
key that only changes hands may seem lost for a moment: what counts is found by two looks in a row.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from redis import Redis

from service.contracts.keys import REDIS_KEYS, TAG
from service.contracts.lifecycle import TERMINAL, State
from service.store.errors import reaching_redis
from service.store.script import text

BETWEEN_LOOKS_S = 1.0
_AT_ONCE = 500
_LASTS = -1
"""What TTL answers for a key that exists and has none."""

#: One key each, or one per pool, model or worker; those that went are taken out by the scripts themselves.
_BOUNDED = frozenset(
    {
        "ARRIVALS",
        "POOLS",
        "POOL_MODELS",
        "TENANTS",
        "SERVED",
        "CLOCK",
        "ENTERED",
        "PACES",
        "WORKS",
        "ETA_RATIOS",
        "FORETOLD",
        "LATE",
        "RENDERS",
        "LOSSES",
        "REAPER",
        "WORKERS",
        "SERVING",
        "CATALOGUE",
    }
    | {
        "STORAGE",
        "STATES",
        "MOVES",
        "CANCELS",
        "SCHEMAS",
        "OUTBOX",
        "RUNNING",
        "API_KEYS",
        "API_KEYS_USED",
        "API_KEYS_REVOKED",
        "ASIDE",
        "PAUSES",
        "WEIGHTS",
        "CAPS",
        "QUOTAS",
        "DRAINS",
        "DELIVERIES_DEAD",
        "RELAYED",
    }
)


@dataclass(frozen=True)
class Orphan:
    """A key (or a member of one) that should not be there, and why."""

    key: str
    why: str


@dataclass(frozen=True)
class Audit:
    """Reads over a blocking client whose replies are bytes; changes nothing. May raise StoreUnavailable."""

    redis: Redis
    pause: Callable[[float], object] = field(default=time.sleep)

    def orphans(self) -> list[Orphan]:
        """All that two looks found, by key."""
        with reaching_redis():
            first = set(self._look())
            if not first:
                return []
            self.pause(BETWEEN_LOOKS_S)
            return sorted(first & set(self._look()), key=lambda orphan: (orphan.key, orphan.why))

    def _look(self) -> Iterator[Orphan]:
        rules: Mapping[str, Callable[[str, str], Iterator[str]]] = {
            "JOB": self._job,
            "EVENTS": lambda _, job_id: self._needs_job(job_id),
            "IDEMPOTENCY": self._idempotency,
            "RECENT": self._runs_out,
            "GONE": self._runs_out,
            "PLACE": self._runs_out,
            "WORKER": self._runs_out,
            "QUOTA_USED": self._runs_out,
            "TAKEN": self._runs_out,
            "TAKEN_IN_ALL": self._runs_out,
            "RATES": self._runs_out,
            "IN_HAND": self._in_hand,
            "TENANT_JOBS": lambda key, _: self._members(key, frozenset(State)),
            "LABELLED": lambda key, _: self._members(key, frozenset(State)),
            "READY": lambda key, _: self._members(key, frozenset({State.QUEUED})),
            "PRIORITY": lambda key, _: self._members(key, frozenset({State.QUEUED})),
            "QUEUE": lambda key, _: self._members(key, frozenset({State.QUEUED})),
            "APPROVALS": lambda key, _: self._members(key, frozenset({State.AWAITING_APPROVAL})),
            "DEADLINES": lambda key, _: self._members(key, frozenset(State) - TERMINAL),
            "DOOMED": lambda key, _: self._members(key, TERMINAL),
            "LEASES": lambda key, _: self._members(key, frozenset({State.RUNNING})),
            "HELD": self._held,
            "DELIVERY": self._delivery,
            "DELIVERIES_DUE": self._due,
            "JOB_DELIVERIES": lambda _, job_id: self._needs_job(job_id),
            "ENDPOINT_DELIVERIES": lambda _, endpoint_id: self._needs_endpoint(endpoint_id),
            "ENDPOINT": self._endpoint,
            "ENDPOINTS": self._endpoints,
        }
        # The longest prefix first: "job:" must not take what is "jobs:", nor "delivery:" a part of another.
        kinds = sorted(REDIS_KEYS.items(), key=lambda kind: -len(kind[1]))
        for raw in self.redis.scan_iter(match=f"{TAG}:*", count=_AT_ONCE):
            key = raw.decode()
            kind = next((name for name, prefix in kinds if key.startswith(prefix)), None)
            if kind is None:
                yield Orphan(key, "no part of this service makes such a key")
            elif kind not in _BOUNDED:
                for why in rules[kind](key, key.removeprefix(REDIS_KEYS[kind])):
                    yield Orphan(key, why)
        yield from self._tickets()

    def _states(self, job_ids: list[str]) -> list[str | None]:
        """The state of each job, None where there is no record."""
        asked = self.redis.pipeline(transaction=False)
        for job_id in job_ids:
            asked.hget(REDIS_KEYS["JOB"] + job_id, "state")
        return [None if state is None else state.decode() for state in asked.execute()]

    def _needs_job(self, job_id: str) -> Iterator[str]:
        if self._states([job_id]) == [None]:
            yield f"its job {job_id} is gone"

    def _job(self, key: str, job_id: str) -> Iterator[str]:
        found = text(self.redis.hmget(key, "state", "pool", "model", "attempt"))
        if found[0] is None:
            return  # purged between the scan and now
        state, pool, model, attempt = found
        place, member = REDIS_KEYS["DOOMED"], job_id
        if state == State.QUEUED:
            place = f"{REDIS_KEYS['READY']}{pool}:{model}"
        elif state == State.RUNNING:
            place, member = REDIS_KEYS["LEASES"], f"{job_id}|{attempt}"
        elif state == State.AWAITING_APPROVAL:
            place = REDIS_KEYS["APPROVALS"]
        if self.redis.zscore(place, member) is None:
            yield f"the job is {state}, but not among {place}"

    def _idempotency(self, key: str, _: str) -> Iterator[str]:
        job_id = text(self.redis.hget(key, "job"))
        if job_id is not None:
            yield from self._needs_job(job_id)

    def _runs_out(self, key: str, _: str) -> Iterator[str]:
        if self.redis.ttl(key) == _LASTS:
            yield "it has no time to live"

    def _members(self, key: str, allowed: frozenset[State]) -> Iterator[str]:
        """A sorted set of jobs, or of their leases, in one of these states."""
        members = [member.decode() for member, _ in self.redis.zscan_iter(key, count=_AT_ONCE)]
        for start in range(0, len(members), _AT_ONCE):
            some = members[start : start + _AT_ONCE]
            states = self._states([member.partition("|")[0] for member in some])
            for member, state in zip(some, states, strict=True):
                if state not in allowed:
                    yield f"it holds {member}, which is {state or 'gone'}"

    def _in_hand(self, key: str, _: str) -> Iterator[str]:
        held = text(list(self.redis.smembers(key)))
        for job_id, state in zip(held, self._states(held), strict=True):
            if state is None or state in TERMINAL:
                yield f"it holds {job_id}, which is {state or 'gone'}"

    def _held(self, key: str, _: str) -> Iterator[str]:
        for member in text(list(self.redis.smembers(key))):
            if self.redis.zscore(REDIS_KEYS["LEASES"], member) is None:
                yield f"it holds {member}, which has no lease"

    def _delivery(self, key: str, event_id: str) -> Iterator[str]:
        waits = self.redis.zscore(REDIS_KEYS["DELIVERIES_DUE"], event_id) is not None
        if not waits and self.redis.ttl(key) == _LASTS:
            yield "it is not due and has no time to live"

    def _due(self, key: str, _: str) -> Iterator[str]:
        for event_id, _at in self.redis.zscan_iter(key, count=_AT_ONCE):
            if not self.redis.exists(REDIS_KEYS["DELIVERY"] + event_id.decode()):
                yield f"it holds {event_id.decode()}, which is gone"

    def _needs_endpoint(self, endpoint_id: str) -> Iterator[str]:
        if not self.redis.exists(REDIS_KEYS["ENDPOINT"] + endpoint_id):
            yield f"its endpoint {endpoint_id} is gone"

    def _endpoint(self, key: str, endpoint_id: str) -> Iterator[str]:
        tenant = text(self.redis.hget(key, "tenant"))
        if tenant is None or self.redis.zscore(REDIS_KEYS["ENDPOINTS"] + tenant, endpoint_id) is None:
            yield f"it is not among the endpoints of {tenant}"

    def _endpoints(self, key: str, _: str) -> Iterator[str]:
        for endpoint_id in text(list(self.redis.zrange(key, 0, -1))):
            yield from self._needs_endpoint(endpoint_id)

    def _tickets(self) -> Iterator[Orphan]:
        """RQ's own traces: a ticket without a time to live must lie in a queue or be in somebody's hands."""
        kept: set[str] = set()
        for queue in text(list(self.redis.smembers("rq:queues"))):
            kept.update(text(self.redis.lrange(queue, 0, -1)))
            kept.update(text(self.redis.lrange(f"{queue}:intermediate", 0, -1)))
            in_hand = text(self.redis.zrange(queue.replace("rq:queue:", "rq:wip:", 1), 0, -1))
            kept.update(member.partition(":")[0] for member in in_hand)
        for raw in self.redis.scan_iter(match="rq:job:*", count=_AT_ONCE):
            ticket = raw.decode().removeprefix("rq:job:")
            if ticket not in kept and self.redis.ttl(raw) == _LASTS:
                yield Orphan(raw.decode(), "this ticket is in no queue and has no time to live")
        for pattern in ("rq:worker:*", "rq:results:*", "rq:executions:*"):
            for raw in self.redis.scan_iter(match=pattern, count=_AT_ONCE):
                for why in self._runs_out(raw.decode(), ""):
                    yield Orphan(raw.decode(), why)
