"""Faults of gateway, notifier, tickets, connections and receiver, and `FAULTS`, the table of all."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from chaos.clock_faults import HostClocksSkewed, RedisClockJumps
from chaos.redis_faults import (
    RedisDown,
    RedisDownForLong,
    RedisFull,
    RedisKilled,
    RedisKilledAtFinish,
    RedisKilledWhileIdle,
    RedisPaused,
)
from chaos.scene import Scene
from chaos.storage_faults import StorageDown, StorageDownForLong, StorageFull
from chaos.strike import Fault, Plain, Strike, kill, spring_at
from chaos.worker_faults import (
    NativeHang,
    OutOfMemory,
    PoisonRequest,
    WorkerDrained,
    WorkerKilled,
    WorkerKilledAfterClaim,
    WorkerKilledAfterFinish,
    WorkerKilledBeforeClaim,
    WorkerKilledBeforeFinish,
    WorkerKilledEncoding,
    WorkerKilledInStageOne,
    WorkerKilledInStageTwo,
    WorkerKilledUploading,
    WorkerPaused,
    WorkerPressed,
)
from redis import Redis
from rig.tcp_proxy import Moment

from service.store.script import text


class GatewayKilled(Plain):
    name, says = "gateway_killed", "kill -9 of the gateway at any moment"

    def strike(self, at: Strike) -> None:
        at.soon(0.5)
        kill(at.scene.parts["gateway"])


class GatewayKilledAfterSubmit(Plain):
    name, says = "gateway_killed_after_submit", "kill -9 of the gateway between submit and its reply"

    def strike(self, at: Strike) -> None:
        spring_at([at.scene.parts["gateway"]], "submit", Moment.AFTER, kill)


class NotifierKilled(Plain):
    name, says = "notifier_killed", "kill -9 of the notifier at any moment"

    def strike(self, at: Strike) -> None:
        at.soon(0.5)
        kill(at.scene.parts["notifier"])


class NotifierKilledInRelay(Plain):
    name, says = "notifier_killed_in_relay", "kill -9 of the notifier between outbox and queue"

    def strike(self, at: Strike) -> None:
        spring_at([at.scene.parts["notifier"]], "relay", Moment.AFTER, kill)


class NotifierKilledBeforeSettling(Plain):
    name, says = "notifier_killed_before_settling", "kill -9 of the notifier between a webhook and its record"

    def strike(self, at: Strike) -> None:
        spring_at([at.scene.parts["notifier"]], "settle_delivery", Moment.BEFORE, kill)


@dataclass
class NotifierKilledWithEndpoints(Plain):
    """Each event goes to three places, and each place must hear of it under one id of its own."""

    name = "notifier_killed_with_endpoints"
    says = "kill -9 of the notifier in its relay, before a record and at any moment, by turns; two endpoints"
    endpoints = 2
    _seen: int = field(default=0)

    def strike(self, at: Strike) -> None:
        ways = (NotifierKilledInRelay, NotifierKilledBeforeSettling, NotifierKilled)
        self._seen += 1
        ways[self._seen % len(ways)]().strike(at)


class TicketsDeleted(Plain):
    name, says = "tickets_deleted", "all tickets of the workers' queue deleted"

    def strike(self, at: Strike) -> Sequence[str]:
        self._delete(at.scene.redis)
        return self._queued(at.scene)[:1]

    def _delete(self, redis: Redis) -> None:
        """In one go: a ticket that came in between would lose its place and keep its hash."""
        redis.eval(
            "for _, id in ipairs(redis.call('LRANGE', KEYS[1], 0, -1)) do "
            "redis.call('DEL', 'rq:job:' .. id) end return redis.call('DEL', KEYS[1])",
            1,
            "rq:queue:gpu-default",
        )

    def _queued(self, scene: Scene) -> list[str]:
        keys = scene.redis.scan_iter("{mc}:ready:*")
        return [member for key in keys for member in text(scene.redis.zrange(key, 0, -1))]


@dataclass
class RepliesLost(Plain):
    name, says = "replies_lost", "the answer of Redis to a claim, note, beat, finish, submit or relay is lost"
    scripts: Sequence[tuple[str, str]] = (
        ("claim", "worker"),
        ("note", "worker"),
        ("beat", "worker"),
        ("finish", "worker"),
        ("submit", "gateway"),
        ("relay", "notifier"),
        ("settle_delivery", "notifier"),
    )
    _seen: int = field(default=0)

    def strike(self, at: Strike) -> None:
        script, role = self.scripts[self._seen % len(self.scripts)]
        self._seen += 1
        parts = [part for name, part in at.scene.parts.items() if name.startswith(role)]
        spring_at(parts, script, Moment.AFTER, lambda _: None)


class ConnectionsCut(Plain):
    name, says = "connections_cut", "every connection to Redis cut at once"

    def strike(self, at: Strike) -> Sequence[str]:
        at.wait_for_work()
        at.soon(0.3)
        hit = at.running()
        for part in at.scene.parts.values():
            part.proxy.cut()
        return hit


@dataclass
class ReceiverAilment(Plain):
    """The receiver misbehaves for `for_s` seconds while jobs go on."""

    name, says = "receiver_500", "the webhook receiver answers 500 for 2 s"
    statuses: Sequence[int] = (500,)
    pause_s: float = 0.0
    location: str = ""
    for_s: float = 2.0

    def strike(self, at: Strike) -> None:
        receiver = at.scene.receiver
        receiver.statuses, receiver.pause_s = list(self.statuses), self.pause_s
        receiver.location = self.location
        time.sleep(self.for_s)
        receiver.statuses, receiver.pause_s, receiver.location = [200], 0.0, ""


class ReceiverSlow(ReceiverAilment):
    name, says = "receiver_slow", "the webhook receiver answers after 2.5 s (a try is given 1.5 s) for 3 s"

    def __init__(self) -> None:
        super().__init__((200,), pause_s=2.5, for_s=3.0)


class ReceiverRedirects(ReceiverAilment):
    name, says = "receiver_redirects", "the webhook receiver answers 307 to another address for 2 s"

    def __init__(self) -> None:
        super().__init__((307,), location="http://127.0.0.1:9/elsewhere")


class ReceiverDown(Plain):
    name, says = "receiver_down", "the webhook receiver refuses connections for 2 s"

    def strike(self, at: Strike) -> None:
        at.scene.receiver_proxy.refusing = True
        at.scene.receiver_proxy.cut()
        time.sleep(2.0)
        at.scene.receiver_proxy.refusing = False


FAULTS: dict[str, type[Fault]] = {
    fault.name: fault
    for fault in (
        WorkerKilled,
        WorkerKilledBeforeClaim,
        WorkerKilledAfterClaim,
        WorkerKilledInStageOne,
        WorkerKilledInStageTwo,
        WorkerKilledEncoding,
        WorkerKilledUploading,
        WorkerKilledBeforeFinish,
        WorkerKilledAfterFinish,
        WorkerPaused,
        WorkerDrained,
        WorkerPressed,
        PoisonRequest,
        NativeHang,
        OutOfMemory,
        GatewayKilled,
        GatewayKilledAfterSubmit,
        NotifierKilled,
        NotifierKilledInRelay,
        NotifierKilledBeforeSettling,
        NotifierKilledWithEndpoints,
        RedisKilled,
        RedisKilledWhileIdle,
        RedisKilledAtFinish,
        RedisDown,
        RedisDownForLong,
        RedisPaused,
        RedisClockJumps,
        HostClocksSkewed,
        RedisFull,
        TicketsDeleted,
        RepliesLost,
        ConnectionsCut,
        StorageDown,
        StorageDownForLong,
        StorageFull,
        ReceiverAilment,
        ReceiverSlow,
        ReceiverRedirects,
        ReceiverDown,
    )
}
