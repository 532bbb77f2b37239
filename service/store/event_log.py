"""New events of many jobs at once, for one reader per gateway process."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from service.contracts.event import Event
from service.contracts.keys import REDIS_KEYS
from service.store.errors import reaching_redis
from service.store.script import text

#: Of one job in one reading; what is left comes with the next.
_AT_ONCE = 100


@dataclass(frozen=True)
class EventLog:
    """The streams that the scripts write. `redis` is this reader's own: a reading keeps its connection.

    `wait_s` bounds how long a reading waits for something to happen (seconds); it must stay below the
    client's own time limit.
    """

    redis: Redis
    wait_s: float

    async def behind(self, seqs: Mapping[str, int]) -> dict[str, tuple[Event, ...]]:
        """For each job id (at least one) its events behind a seq, in order; only jobs that have some.

        Answers as soon as there is one, and with nothing when the wait is over. Raises StoreUnavailable.
        """
        prefix = REDIS_KEYS["EVENTS"]
        streams = {f"{prefix}{job_id}": f"{seq}-0" for job_id, seq in seqs.items()}
        with reaching_redis():
            reply: Any = await self.redis.execute_command(  # type: ignore[no-untyped-call]
                "XREAD",
                "COUNT",
                _AT_ONCE,
                "BLOCK",
                max(1, int(self.wait_s * 1000)),
                "STREAMS",
                *streams.keys(),
                *streams.values(),
            )
        found = reply or []
        return {
            text(key).removeprefix(prefix): tuple(_event(fields) for _, fields in entries)
            for key, entries in found
        }


def _event(fields: Mapping[bytes, bytes]) -> Event:
    return Event.from_fields({text(name): text(value) for name, value in fields.items()})
