"""Faults of Redis itself: killed, away, paused, full."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from chaos.scene import LEASE_S, Scene
from chaos.strike import TRAP_S, Plain, Strike, spring_at
from rig.processes import wait_until
from rig.tcp_proxy import Moment


@dataclass
class RedisKilled(Plain):
    name, says = "redis_killed", "kill -9 of Redis while jobs run, back after 0.5 s"
    down_s: float = 0.5

    def strike(self, at: Strike) -> Sequence[str]:
        at.wait_for_work()
        at.soon(0.3)
        hit = at.running()
        at.scene.server.kill()
        time.sleep(self.down_s)
        at.scene.start_server()
        return hit


class RedisDown(RedisKilled):
    name, says = "redis_down", f"kill -9 of Redis, away for {LEASE_S + 2:g} s: longer than a lease"

    def __init__(self) -> None:
        super().__init__(LEASE_S + 2)


class RedisDownForLong(RedisKilled):
    name, says = "redis_down_for_long", "kill -9 of Redis while jobs run, away for 30 s"

    def __init__(self) -> None:
        super().__init__(30.0)


class RedisKilledWhileIdle(Plain):
    """Nothing runs or waits: what the AOF has to bring back is every job that has ended.

    The load waits for its strikes; jobs are sent while Redis is away, as to a service that looks asleep.
    """

    name, says = "redis_killed_while_idle", "kill -9 of Redis with no job under way, back after 0.5 s"
    clients = 0

    def strike(self, at: Strike) -> Sequence[str]:
        wait_until(lambda: not at.under_way(), TRAP_S, "no job is under way")
        at.scene.server.kill()
        with ThreadPoolExecutor(1) as supervisor:
            back = supervisor.submit(self._come_back, at.scene)
            sent = [at.client.create("the first job behind an outage") for _ in range(3)]
            back.result()
        return [job_id for job_id in sent if job_id is not None]

    def _come_back(self, scene: Scene) -> None:
        time.sleep(0.5)
        scene.start_server()


class RedisKilledAtFinish(Plain):
    name, says = "redis_killed_at_finish", "kill -9 of Redis when a finish was done and not yet answered"

    def strike(self, at: Strike) -> None:
        spring_at(at.scene.workers(), "finish", Moment.AFTER, lambda _: at.scene.server.kill())
        time.sleep(0.5)
        at.scene.start_server()


class RedisPaused(Plain):
    name, says = "redis_paused", f"SIGSTOP of Redis for {LEASE_S + 1.5:g} s: longer than a lease"

    def strike(self, at: Strike) -> Sequence[str]:
        at.wait_for_work()
        hit = at.running()
        os.kill(at.scene.server.pid, signal.SIGSTOP)
        time.sleep(LEASE_S + 1.5)
        os.kill(at.scene.server.pid, signal.SIGCONT)
        return hit


class RedisFull(Plain):
    name, says = "redis_full", "Redis out of memory (noeviction) for 2 s"

    def strike(self, at: Strike) -> Sequence[str]:
        at.wait_for_work()
        hit = at.running()
        at.scene.redis.config_set("maxmemory", 1)
        time.sleep(2.0)
        at.scene.redis.config_set("maxmemory", 0)
        return hit
