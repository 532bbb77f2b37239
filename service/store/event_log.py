"""New events and previews of many jobs at once, for one reader per gateway process."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from redis.asyncio import Redis

from service.contracts.event import Event
from service.contracts.keys import REDIS_KEYS
from service.contracts.preview import Preview
from service.store.errors import reaching_redis
from service.store.script import text

#: Of one job in one reading; what is left comes with the next.
_AT_ONCE = 100


NO_PREVIEW = "0-0"
"""The place before a job's first preview."""


@dataclass(frozen=True)
class Shown:
    """A preview, its place among those of its job ("attempt-number"), and when it came (s since 1970)."""

    place: str
    attempt: int
    created_at: float
    preview: Preview


@dataclass
class News:
    """What happened to one job: events in order, and its newest preview if there is a new one."""

    events: tuple[Event, ...] = field(default_factory=tuple)
    shown: Shown | None = None


@dataclass(frozen=True)
class EventLog:
    """The streams that the scripts write. `redis` is this reader's own: a reading keeps its connection.

    `wait_s` bounds how long a reading waits for something to happen (seconds); it must stay below the
    client's own time limit.
    """

    redis: Redis
    wait_s: float

    async def behind(self, places: Mapping[str, tuple[int, str]]) -> dict[str, News]:
        """For each job id (at least one) what is behind a seq and a preview's place, where there is some.

        Answers as soon as there is any, and with nothing when the wait is over. Raises StoreUnavailable.
        """
        events, previews = REDIS_KEYS["EVENTS"], REDIS_KEYS["PREVIEW"]
        streams = {f"{events}{job_id}": f"{seq}-0" for job_id, (seq, _) in places.items()}
        streams |= {f"{previews}{job_id}": place for job_id, (_, place) in places.items()}
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
        news: dict[str, News] = {}
        for key, entries in reply or []:
            name = text(key)
            job = news.setdefault(name.removeprefix(events).removeprefix(previews), News())
            if name.startswith(events):
                job.events = tuple(Event.from_fields(_readable(fields)) for _, fields in entries)
            else:
                job.shown = _shown(*entries[-1])
        return news


def _readable(fields: Mapping[bytes, bytes]) -> dict[str, str]:
    return {text(name): text(value) for name, value in fields.items()}


def _shown(place: bytes, fields: Mapping[bytes, bytes]) -> Shown:
    said = _readable(fields)
    preview = Preview.model_validate_json(said["facts"])
    return Shown(text(place), int(said["attempt"]), float(said["created_at"]), preview)
