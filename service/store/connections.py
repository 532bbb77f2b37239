"""Clients for Redis with explicit limits, and the check of the server that each process makes at start."""

from collections.abc import Mapping
from typing import Any

from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from service.store.errors import UnsuitableServer, reaching_redis

_OLDEST_SERVER = 7  # script flags (allow-oom) came with Redis 7.0


def connect_sync(url: str, timeout_s: float = 1.0) -> Redis:
    """A blocking client. It never sends a command twice by itself: only the caller knows what a repeat means.

    Replies stay bytes, because RQ needs them so; the store reads either kind.
    """
    return Redis.from_url(
        url,
        socket_connect_timeout=timeout_s,
        socket_timeout=timeout_s,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
    )


def connect_async(url: str, timeout_s: float = 1.0) -> AsyncRedis:
    """An asyncio client with the same limits as `connect_sync`."""
    return AsyncRedis.from_url(
        url,
        socket_connect_timeout=timeout_s,
        socket_timeout=timeout_s,
        retry=AsyncRetry(NoBackoff(), 0),
        protocol=2,
    )


def check_server(redis: Redis) -> None:
    """Raise UnsuitableServer if the server would break a promise, StoreUnavailable if it does not answer."""
    with reaching_redis():
        facts = redis.info()
    judge_server(facts)


async def check_server_async(redis: AsyncRedis) -> None:
    """As `check_server`, over an asyncio client."""
    with reaching_redis():
        facts = await redis.info()
    judge_server(facts)


def judge_server(facts: Mapping[str, Any]) -> None:
    """Judge the reply to INFO; raises UnsuitableServer with what to change."""
    if int(facts.get("cluster_enabled", 0)):
        raise UnsuitableServer(
            "REDIS_URL names a Redis Cluster; the job scripts need one primary. Use a standalone server."
        )
    version = str(facts.get("redis_version", "0"))
    if int(version.split(".")[0]) < _OLDEST_SERVER:
        raise UnsuitableServer(f"Redis {version} is too old; {_OLDEST_SERVER}.0 or later is needed.")
    policy = str(facts.get("maxmemory_policy", "noeviction"))
    if int(facts.get("maxmemory", 0)) and policy != "noeviction":
        raise UnsuitableServer(
            f"maxmemory-policy {policy} would throw job records away; set it to noeviction."
        )
