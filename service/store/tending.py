"""What operators do with single jobs and letters. The rules are in lua/end_retention.lua and lua/resend.lua.

Both over a blocking client; both may raise StoreUnavailable and NewerRecord, and may be sent again.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from redis import Redis

from service.contracts.keys import REDIS_KEYS
from service.contracts.lifecycle import State
from service.contracts.schema import RECORD_SCHEMA
from service.store.delivery_log import resend
from service.store.errors import reaching_redis
from service.store.script import Command, Store, text

_AT_ONCE = 500


def _is_newer(fields: Mapping[str, str]) -> bool:
    """Whether a newer version wrote it, to which it is left."""
    return int(fields["schema"] or 1) > RECORD_SCHEMA


class EndedRetention(StrEnum):
    """ended: the janitor takes it at its next turn. running: it has not ended. missing: no such job."""

    ENDED = "ended"
    RUNNING = "running"
    MISSING = "missing"


@dataclass(frozen=True)
class EndedJob:
    """A job that has ended and is still kept; `ended_at` in Unix seconds."""

    id: str
    tenant: str
    state: State
    ended_at: float


@dataclass(frozen=True)
class Letter:
    """A delivery that is still kept: `state` waiting, delivered, gone, dead or dropped; `filed_at` Unix s."""

    id: str
    tenant: str
    state: str
    filed_at: float


@dataclass(frozen=True)
class Tending:
    """A look is no snapshot: what changes meanwhile is judged again by the script that acts on it."""

    redis: Redis

    def now(self) -> float:
        """Unix seconds by the server's clock, which all times of the record are of."""
        with reaching_redis():
            seconds, microseconds = self.redis.time()
        return float(seconds) + float(microseconds) / 1e6

    def ended_jobs(self) -> Iterator[EndedJob]:
        """Every job that has ended and is kept, but for tombstones, which go by themselves."""
        with reaching_redis():
            ids = text([member for member, _ in self.redis.zscan_iter(REDIS_KEYS["DOOMED"], count=_AT_ONCE)])
        for start in range(0, len(ids), _AT_ONCE):
            names = [REDIS_KEYS["JOB"] + job_id for job_id in ids[start : start + _AT_ONCE]]
            fields = ("id", "tenant", "state", "completed_at", "deleted", "schema")
            for found in self._looked_up(names, fields):
                if found["state"] and found["deleted"] != "1" and not _is_newer(found):
                    yield EndedJob(
                        found["id"], found["tenant"], State(found["state"]), float(found["completed_at"])
                    )

    def end_retention(self, job_id: str) -> EndedRetention:
        """Let an ended job go now, as if its time had come."""
        return Store(self.redis).run(Command("end_retention", (job_id,), EndedRetention))

    def letters(self, job_id: str | None = None) -> Iterator[Letter]:
        """The kept deliveries of a job, or all there are."""
        prefix = REDIS_KEYS["DELIVERY"]
        with reaching_redis():
            if job_id is None:
                names = text(list(self.redis.scan_iter(match=f"{prefix}*", count=_AT_ONCE)))
            else:
                of_job = text(self.redis.zrange(REDIS_KEYS["JOB_DELIVERIES"] + job_id, 0, -1))
                names = [prefix + letter for letter in of_job]
        for start in range(0, len(names), _AT_ONCE):
            some = names[start : start + _AT_ONCE]
            fields = ("tenant", "state", "filed_at", "created_at", "schema")
            for name, found in zip(some, self._looked_up(some, fields), strict=True):
                if found["state"] and not _is_newer(found):
                    filed_at = float(found["filed_at"] or found["created_at"])
                    yield Letter(name.removeprefix(prefix), found["tenant"], found["state"], filed_at)

    def resend(self, letter: Letter) -> bool:
        """Make a delivery due at once that has ended; False if it is gone meanwhile."""
        return Store(self.redis).run(resend(letter.tenant, letter.id)) is not None

    def _looked_up(self, names: list[str], fields: tuple[str, ...]) -> list[dict[str, str]]:
        """These fields of each hash, '' for what it has not."""
        with reaching_redis():
            asked = self.redis.pipeline(transaction=False)
            for name in names:
                asked.hmget(name, fields)
            answers = text(asked.execute())
        return [dict(zip(fields, (value or "" for value in values), strict=True)) for values in answers]
