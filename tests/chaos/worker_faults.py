"""Faults of workers and of what they render."""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from typing import ClassVar

from chaos.scene import LEASE_S, Part, Scene
from chaos.strike import Plain, Strike, kill, spring_at, spring_in_stage
from rig.processes import wait_until
from rig.tcp_proxy import Moment

from service.contracts.lifecycle import Stage

ENDS_S = 120.0


class Instant(Plain):
    """Over in an instant: while the victim's job comes back its mate goes on, and what both began later is
    not touched. With as many jobs under way as pass from one strike to the next, nearly all of them are.
    """

    clients, under_way = 4, 12
    kills_workers = True


class WorkerKilled(Instant):
    name, says = "worker_killed", "kill -9 of a worker that holds a job"
    slow_s = 0.3  # a free machine makes some 25 of the usual jobs until the next strike

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


class WorkerKilledAfterClaim(Instant):
    name, says = "worker_killed_after_claim", "kill -9 of a worker whose claim is made, before it hears so"
    slow_s = 0.3

    def strike(self, at: Strike) -> None:
        spring_at(at.scene.workers(), "claim", Moment.AFTER, kill)


class WorkerKilledInStageOne(Instant):
    name, says = "worker_killed_in_text_to_image", "kill -9 of a worker whose job is in stage 1"
    stage: ClassVar[Stage] = Stage.TEXT_TO_IMAGE

    def strike(self, at: Strike) -> Sequence[str]:
        hit: list[str] = []

        def see_and_kill(part: Part) -> None:
            hit.extend(at.running(part))
            kill(part)

        spring_in_stage(at.scene.workers(), self.stage, see_and_kill)
        return hit


class WorkerKilledInStageTwo(WorkerKilledInStageOne):
    name, says = "worker_killed_in_image_to_video", "kill -9 of a worker whose job is in stage 2"
    stage = Stage.IMAGE_TO_VIDEO


class WorkerKilledEncoding(WorkerKilledInStageOne):
    name, says = "worker_killed_in_encode", "kill -9 of a worker whose job is being decoded and encoded"
    stage = Stage.ENCODE


class WorkerKilledUploading(WorkerKilledInStageOne):
    name, says = "worker_killed_in_upload", "kill -9 of a worker whose video is finished and not yet stored"
    stage = Stage.UPLOAD


class WorkerKilledBeforeFinish(Instant):
    name, says = "worker_killed_before_finish", "kill -9 of a worker between upload and finish"
    slow_s = 0.3

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
        """Over when the last of its workers is dead: whoever shares the service with it is touched."""
        poison = at.client.create("[poison]", "worker_lost")
        if poison is None:
            return []
        wait_until(lambda: at.ended(poison), ENDS_S, "the poison is given up")
        return [poison]


class NativeHang(Plain):
    name, says = "native_hang", "a native call that never comes back; the watchdog ends the process"
    # RQ's loop gives a sign of life every two seconds; the rest is for a busy machine.
    settings: ClassVar[dict[str, str]] = {"MICROCINEMA_HANG_GRACE_S": "5"}
    kills_workers = True

    def strike(self, at: Strike) -> Sequence[str]:
        """Over when the watchdog has ended the process."""
        exits = sum(len(part.exits) for part in at.scene.workers())
        hung = at.client.create("[hang]")
        wait_until(
            lambda: sum(len(part.exits) for part in at.scene.workers()) > exits, ENDS_S, "the watchdog acts"
        )
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
