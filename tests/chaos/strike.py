"""What a fault is, and what it is given to strike with.

`strike` comes back when the fault is over (the process is dead, the outage has ended); the service then
recovers by itself. It may name the jobs that it hit; otherwise the jobs that ran at that moment count.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import ClassVar, Protocol

from chaos.load import CLIENTS, UNFINISHED, Client
from chaos.scene import Part, Scene
from rig.processes import wait_until
from rig.tcp_proxy import Moment

from service.contracts.lifecycle import Stage
from service.store.script import Library, text

TRAP_S = 90.0  # both workers may be starting again, on a machine that is busy with other work


@dataclass
class Strike:
    """What a fault is given: the scene, a seeded random source, and a client of its own."""

    scene: Scene
    random: Random
    client: Client

    def running(self, part: Part | None = None) -> list[str]:
        """Ids of running jobs, or of those that `part` holds."""
        ids = [member.split("|")[0] for member in text(self.scene.redis.zrange("{mc}:leases", 0, -1))]
        if part is None:
            return ids
        name = self.scene.held_by(part)
        return [id_ for id_ in ids if (job := self.scene.record(id_)) is not None and job.worker == name]

    def ended(self, job_id: str) -> bool:
        """Whether the record says so."""
        job = self.scene.record(job_id)
        return job is not None and job.terminal

    def under_way(self) -> bool:
        """Whether any job is queued or running."""
        return bool(self.running()) or any(self.scene.redis.scan_iter("{mc}:ready:*"))

    def wait_for_work(self) -> None:
        wait_until(lambda: bool(self.running()), TRAP_S, "a job runs")

    def busy_worker(self, among: Sequence[Part] = ()) -> Part:
        """One, `among` these or all, that holds a job at this moment."""
        found: list[Part] = []

        def look() -> bool:
            found[:] = [part for part in among or self.scene.workers() if self.running(part)]
            return bool(found)

        wait_until(look, TRAP_S, "a worker holds a job")
        return self.random.choice(found)

    def soon(self, longest_s: float) -> None:
        time.sleep(self.random.uniform(0, longest_s))


class Fault(Protocol):
    """`slow_s`: mean length of a step of the load's jobs. `clients`: how many send them; with 0 the strikes
    do. `under_way`: how many jobs they keep under way. `endpoints`: how many webhook endpoints hear of every
    job besides its own URL. `settings`: for the service's processes."""

    name: ClassVar[str]
    says: ClassVar[str]
    slow_s: ClassVar[float]
    clients: ClassVar[int]
    under_way: ClassVar[int]
    endpoints: ClassVar[int]
    settings: ClassVar[dict[str, str]]
    kills_workers: ClassVar[bool]  # only then may a record count a lost worker

    def strike(self, at: Strike) -> Sequence[str] | None: ...

    def judge(self, scene: Scene, strikes: int) -> list[str]: ...


class Plain:
    """The usual answers to the questions that are not `strike`."""

    name: ClassVar[str]
    says: ClassVar[str]
    slow_s: ClassVar[float] = 0.08
    clients: ClassVar[int] = CLIENTS
    under_way: ClassVar[int] = UNFINISHED
    endpoints: ClassVar[int] = 0
    settings: ClassVar[dict[str, str]] = {}
    kills_workers: ClassVar[bool] = False

    def judge(self, scene: Scene, strikes: int) -> list[str]:  # noqa: ARG002 - few faults have an opinion
        """Breaches that only this fault can show."""
        return []


def spring_at(parts: Sequence[Part], script: str, moment: Moment, action: Callable[[Part], object]) -> Part:
    """Do `action` to the first of `parts` that sends `script`, at that very moment."""
    return spring_on(parts, Library().script(script).sha1.encode(), script, moment, action)


def spring_in_stage(parts: Sequence[Part], stage: Stage, action: Callable[[Part], object]) -> Part:
    """Do `action` to the first of `parts` that says it is in `stage`, when the record has it so."""
    word = f"${len(stage)}\r\n{stage}\r\n".encode()  # an argument by itself: only a note has such a one
    return spring_on(parts, word, f"a note of {stage}", Moment.AFTER, action)


def spring_on(
    parts: Sequence[Part], marker: bytes, what: str, moment: Moment, action: Callable[[Part], object]
) -> Part:
    """Do `action` to the first of `parts` whose request holds `marker`."""
    caught: list[Part] = []

    def spring(part: Part) -> None:
        for other in parts:
            other.proxy.disarm()
        caught.append(part)
        action(part)

    for part in parts:
        part.proxy.trap(marker, moment, lambda part=part: spring(part))  # type: ignore[misc]
    try:
        wait_until(lambda: bool(caught), TRAP_S, f"{what} is sent")
    finally:
        for part in parts:
            part.proxy.disarm()
    return caught[0]


def kill(part: Part) -> None:
    """kill -9, of a process that is there: one that is just being started again is waited for."""
    wait_until(part.forked.alive, TRAP_S, f"{part.name} lives")
    part.forked.kill()
