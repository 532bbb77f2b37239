"""Faults of the place where videos go."""

from __future__ import annotations

import contextlib
import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from chaos.scene import Scene
from chaos.strike import Plain, Strike

from service.contracts.lifecycle import Stage
from service.storage.files import WRITING

SMALL_BYTES = 512  # less than any video has
FULL_S = 4.0


@dataclass
class StorageDown(Plain):
    """What waits in a spool when the storage comes back must be stored by the attempt that rendered it."""

    name, says = "storage_down", "the storage folder gone for 3 s"
    down_s: float = 3.0
    _waited: dict[str, int] = field(default_factory=dict)

    def strike(self, at: Strike) -> Sequence[str]:
        at.wait_for_work()
        hit = at.running()
        root = at.scene.storage.root
        away = root.with_name("artifacts-away")
        root.rename(away)
        root.touch()  # a file in its place: nobody can make the folder again
        time.sleep(self.down_s)
        for job_id in at.running():
            job = at.scene.record(job_id)
            if job is not None and job.stage == Stage.UPLOAD:
                self._waited[job_id] = job.attempt
        root.unlink()
        away.rename(root)
        return sorted({*hit, *self._waited})

    def judge(self, scene: Scene, strikes: int) -> list[str]:
        found = [f"{job_id}: its spooled video was rendered again" for job_id in self._again(scene)]
        if not self._waited:
            found.append(f"no video waited in {strikes} outages: nothing is shown")
        return found

    def _again(self, scene: Scene) -> list[str]:
        records = {job_id: scene.record(job_id) for job_id in self._waited}
        return [id_ for id_, job in records.items() if job is None or job.attempt != self._waited[id_]]


class StorageDownForLong(StorageDown):
    name, says = "storage_down_for_long", "the storage folder gone for 60 s, two places in each spool"
    settings: ClassVar[dict[str, str]] = {"MICROCINEMA_SPOOL_VIDEOS": "2"}

    def __init__(self) -> None:
        super().__init__(60.0)


class StorageFull(Plain):
    """The kernel lets no file of these processes grow (RLIMIT_FSIZE): real, and without harm."""

    name = "storage_full"
    says = f"no room for a video for {FULL_S:g} s (the kernel refuses it); one is offered for 2 s"

    def strike(self, at: Strike) -> Sequence[str]:
        at.wait_for_work()
        hit = at.running()
        pids = [part.forked.pid for part in (at.scene.parts["gateway"], *at.scene.workers())]
        _limit_files(pids, SMALL_BYTES)
        time.sleep(FULL_S)
        _limit_files(pids, resource.RLIM_INFINITY)
        return hit

    def judge(self, scene: Scene, strikes: int) -> list[str]:  # noqa: ARG002 - the shape of all
        return [f"half an object is left: {path}" for path in (scene.storage.root / WRITING).iterdir()]


def _limit_files(pids: Sequence[int], size: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, hard))
