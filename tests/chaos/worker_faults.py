"""Faults of workers and of what they render."""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from typing import ClassVar

from chaos.scene import LEASE_S, Scene
from chaos.strike import Plain, Strike, kill, spring_at
from rig.tcp_proxy import Moment


class WorkerKilled(Plain):
    name, says = "worker_killed", "kill -9 of a worker that holds a job"
    kills_workers = True

    def strike(self, at: Strike) -> Sequence[str]:
        part = at.busy_worker()
        at.soon(0.3)
        hit = at.running(part)
        kill(part)
        return hit


class WorkerKilledBeforeClaim(Plain):
    name, says = (
        "worker_killed_before_claim",
        "kill -9 of a worker that has its ticket, before its claim arrives",
    )
    kills_workers = True

    def strike(self, at: Strike) -> None:
        spring_at(at.scene.workers(), "claim", Moment.BEFORE, kill)


class WorkerKilledAfterClaim(Plain):
    name, says = "worker_killed_after_claim", "kill -9 of a worker whose claim is made, before it hears so"
    kills_workers = True

    def strike(self, at: Strike) -> None:
        spring_at(at.scene.workers(), "claim", Moment.AFTER, kill)


class WorkerKilledBeforeFinish(Plain):
    name, says = "worker_killed_before_finish", "kill -9 of a worker between upload and finish"
    kills_workers = True

    def strike(self, at: Strike) -> None:
        spring_at(at.scene.workers(), "finish", Moment.BEFORE, kill)


class WorkerKilledAfterFinish(Plain):
    name, says = "worker_killed_after_finish", "kill -9 of a worker between finish and RQ's own book-keeping"
    kills_workers = True

    def strike(self, at: Strike) -> None:
        spring_at(at.scene.workers(), "finish", Moment.AFTER, kill)


class WorkerPaused(Plain):
    name, says = (
        "worker_paused",
        f"SIGSTOP of a worker for {LEASE_S + 1.5:g} s, {LEASE_S:g} s being the lease",
    )
    kills_workers = True

    def strike(self, at: Strike) -> Sequence[str]:
        part = at.busy_worker()
        at.soon(0.2)
        hit = at.running(part)
        part.forked.send(signal.SIGSTOP)
        time.sleep(LEASE_S + 1.5)
        part.forked.send(signal.SIGCONT)
        return hit


class WorkerDrained(Plain):
    name, says = "worker_drained", "SIGTERM of a worker that holds a job"

    def strike(self, at: Strike) -> Sequence[str]:
        part = at.busy_worker()
        hit = at.running(part)
        part.forked.send(signal.SIGTERM)
        return hit

    def judge(self, scene: Scene, strikes: int) -> list[str]:  # noqa: ARG002 - the shape of all
        return [f"{part.name} ended with {part.exits}" for part in scene.workers() if any(part.exits)]


class WorkerPressed(WorkerDrained):
    name, says = "worker_pressed", "SIGTERM of a worker, and once more past its grace"
    slow_s = 0.8

    def strike(self, at: Strike) -> Sequence[str]:
        part = at.busy_worker()
        hit = at.running(part)
        pressed = part.forked.pid
        part.forked.send(signal.SIGTERM)
        time.sleep(1.1)  # sooner it would be taken for an echo
        if part.forked.pid == pressed:  # not its successor, which may not even listen for signals yet
            part.forked.send(signal.SIGTERM)
        return hit


class PoisonRequest(Plain):
    name, says = "poison_request", "a request that kills every worker that renders it"
    kills_workers = True

    def strike(self, at: Strike) -> Sequence[str]:
        poison = at.client.create("[poison]", "worker_lost")
        return [poison] if poison else []


class NativeHang(Plain):
    name, says = "native_hang", "a native call that never comes back; the watchdog ends the process"
    # RQ's loop gives a sign of life every two seconds; the rest is for a busy machine.
    settings: ClassVar[dict[str, str]] = {"MICROCINEMA_HANG_GRACE_S": "5"}
    kills_workers = True

    def strike(self, at: Strike) -> Sequence[str]:
        hung = at.client.create("[hang]")
        return [hung] if hung else []

    def judge(self, scene: Scene, strikes: int) -> list[str]:
        codes = [code for part in scene.workers() for code in part.exits]
        return [] if codes.count(70) == strikes == len(codes) else [f"exit codes {codes}, not {strikes} x 70"]


class OutOfMemory(Plain):
    """On the host there is no sparing way left for a single job: it fails, and nothing else does."""

    name, says = "out_of_memory", "a stage runs out of memory (raised by the test); its job fails, no other"

    def strike(self, at: Strike) -> Sequence[str]:
        starved = at.client.create("[oom]", "out_of_memory")
        return [starved] if starved else []
