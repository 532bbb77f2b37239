"""Everything that the store holds, in one look: most of a story's time was spent looking."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from redis import Redis

from service.store.script import pairs, text

RECORD = (
    "state",
    "attempt",
    "lost",
    "deleted",
    "winner_attempt",
    "progress",
    "alone",
    "cancel_requested",
    "keyframe",
    "checkpoint",
)
#: A script of the test's own. It knows the names of keys and nothing of the service's rules.
LOOK = (
    """
local function scored(key) return redis.call('ZRANGE', '{mc}:' .. key, 0, -1, 'WITHSCORES') end
local jobs = {}
for i, id in ipairs(ARGV) do
  local events = {}
  for n, entry in ipairs(redis.call('XRANGE', '{mc}:events:' .. id, '-', '+')) do
    for f = 1, #entry[2], 2 do
      if entry[2][f] == 'type' then events[n] = { entry[1], entry[2][f + 1] } end
    end
  end
  jobs[i] = { redis.call('HMGET', '{mc}:job:' .. id, 'FIELDS'), events }
end
local outbox = {}
for n, entry in ipairs(redis.call('XRANGE', '{mc}:outbox', '-', '+')) do
  local fields = {}
  for f = 1, #entry[2], 2 do fields[entry[2][f]] = entry[2][f + 1] end
  outbox[n] = { fields.job_id, fields.type }
end
local used = {}
for n, tenant in ipairs({ 'a', 'b', 'c' }) do
  local jobs = redis.call('SMEMBERS', '{mc}:in-hand:' .. tenant)
  used[n] = { jobs, redis.call('HGETALL', '{mc}:quota-used:' .. tenant) }
end
local sets = {}
for n, key in ipairs({ 'leases', 'approvals', 'doomed', 'deadlines', 'ready:default:micro', 'tenants:default',
  'served:default', 'queue:default:micro:a', 'queue:default:micro:b', 'queue:default:micro:c',
  'priority:default:-1', 'priority:default:0', 'priority:default:1' }) do
  sets[n] = { key, scored(key) }
end
return {
  #redis.call('KEYS', '{mc}:job:*'), jobs, outbox, sets, redis.call('HGETALL', '{mc}:running'),
  redis.call('GET', '{mc}:clock:default') or '0', redis.call('HGET', '{mc}:paces', 'default:micro') or '',
  used, redis.call('SMEMBERS', '{mc}:held:w1'), redis.call('SMEMBERS', '{mc}:held:w2'),
}
"""
).replace("'FIELDS'", ", ".join(f"'{name}'" for name in RECORD))


@dataclass(frozen=True)
class Sight:
    """`sets` are sorted sets by the end of their key, members in order; `events` are (entry id, type)."""

    records: int
    jobs: dict[str, dict[str, str]]
    events: dict[str, list[tuple[str, str]]]
    outbox: list[tuple[str, str]]
    sets: dict[str, dict[str, float]]
    running: dict[str, int]
    clock: int
    pace: float | None
    held: dict[str, set[str]]
    in_hand: dict[str, set[str]]
    used: dict[str, Mapping[str, str]]

    @classmethod
    def of(cls, redis: Redis, job_ids: Iterable[str]) -> Sight:
        """The store as it stands; `job_ids` are the records that should be there."""
        ids = list(job_ids)
        records, jobs, outbox, sets, running, clock, pace, used, *held = text(redis.eval(LOOK, 0, *ids))
        return cls(
            records=records,
            jobs={
                job_id: dict(zip(RECORD, fields, strict=True))
                for job_id, (fields, _) in zip(ids, jobs, strict=True)
            },
            events={job_id: _tuples(events) for job_id, (_, events) in zip(ids, jobs, strict=True)},
            outbox=_tuples(outbox),
            sets={key: {member: float(score) for member, score in pairs(flat).items()} for key, flat in sets},
            running={tenant: int(count) for tenant, count in pairs(running).items()},
            clock=int(clock),
            pace=float(pace) if pace else None,
            held=dict(zip(("w1", "w2"), map(set, held), strict=True)),
            in_hand={tenant: set(jobs) for tenant, (jobs, _) in zip("abc", used, strict=True)},
            used={tenant: pairs(flat) for tenant, (_, flat) in zip("abc", used, strict=True)},
        )


def _tuples(rows: list[list[Any]]) -> list[tuple[str, str]]:
    return [(first, second) for first, second in rows]
