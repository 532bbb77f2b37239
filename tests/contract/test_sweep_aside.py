"""A job that is set aside is said once, by whoever sees it."""

import asyncio

from redis import Redis
from structlog.testing import capture_logs

from service.queue import Tickets
from service.store.connections import connect_async
from service.store.script import AsyncStore
from service.store.store import AsyncJobStore
from service.sweep import Sweep


async def swept(url: str, redis: Redis, turns: int) -> None:
    async with connect_async(url, 20) as connection:
        sweep = Sweep(AsyncJobStore(AsyncStore(connection)), Tickets(redis), lease_s=15.0)
        for _ in range(turns):
            await sweep.once()


def test_a_job_that_is_set_aside_is_said_once_with_what_is_wrong(redis_url: str, redis: Redis) -> None:
    spoil(redis)
    with capture_logs() as said:
        asyncio.run(swept(redis_url, redis, turns=3))
    assert [(line["job"], line["flaw"]) for line in said if line["event"] == "job_set_aside"] == [
        ("video_a", "state is none")
    ]


def spoil(redis: Redis) -> None:
    """A job whose time has passed, and of whose record little is left."""
    redis.hset("{mc}:job:video_a", mapping={"id": "video_a", "state": "runing"})
    redis.zadd("{mc}:deadlines", {"video_a": 1.0})
    redis.set("{mc}:reaper", redis.time()[0] - 1)
