"""A worker whose model falls ill on request: the prompt says how.

`[slow 0.05]` sleeps that many seconds in each step of stage 2; `[poison]` kills the process in the middle of
a step, every time; `[oom]` runs out of memory, every time; `[hang]` never comes back from a native call, once
per prompt.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import cache
from pathlib import Path

import torch

from models.orders import PictureOrder, VideoOrder
from models.thrift import Thrift
from service.contracts.environment import read_settings
from service.logs import configure_logs, get_logger
from service.storage.settings import StorageSettings, open_store
from service.store.connections import connect_sync
from service.store.settings import RedisSettings
from service.store.storage_mark import paired
from worker.departure import end_before_the_loop
from worker.events import tell_all
from worker.loading import Loaded, load, plan_of
from worker.logbook import Logbook
from worker.main import serve
from worker.metrics import WorkerMetrics
from worker.parts import Parts, worker_name
from worker.readiness import keep_for_good
from worker.renderer import OnePerOrder, Picture, Renderer, Work
from worker.settings import WorkerSettings

SLOW = re.compile(r"\[slow ([0-9.]+)\]")


class Ailing:
    """`sound`, a whole renderer, with the ailments above.

    `suffered` is a folder that outlives the process: what happens once per prompt is remembered there.
    """

    def __init__(self, sound: Renderer, suffered: Path) -> None:
        self._sound, self._suffered = sound, suffered
        self.spec = sound.spec
        self.weight_hash, self.origins = sound.weight_hash, sound.origins

    def economise(self, thrift: Thrift) -> None:
        self._sound.economise(thrift)

    def warm_up(self) -> None:
        self._sound.warm_up()

    def paint(self, orders: Sequence[PictureOrder]) -> Work[list[Picture]]:
        return self._sound.paint(orders)

    def animate(
        self, orders: Sequence[VideoOrder], keyframes: Sequence[Picture]
    ) -> Work[OnePerOrder[torch.Tensor]]:
        with closing(self._sound.animate(orders, keyframes)) as work:
            while True:
                try:
                    progress = next(work)
                except StopIteration as end:
                    made: OnePerOrder[torch.Tensor] = end.value
                    return made
                for order in orders:
                    self._suffer(order.prompt)
                yield progress

    def decode(self, latents: torch.Tensor) -> Iterator[Picture]:
        return self._sound.decode(latents)

    def _suffer(self, prompt: str) -> None:
        if slow := SLOW.search(prompt):
            time.sleep(float(slow[1]))
        if "[poison]" in prompt:
            os.kill(os.getpid(), signal.SIGKILL)
        if "[hang]" in prompt and self._first(prompt):
            ctypes.CDLL(None).sleep(3600)  # like a CUDA call that hangs: no bytecode runs, the GIL is free
        if "[oom]" in prompt:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

    def _first(self, prompt: str) -> bool:
        mark = self._suffered / hashlib.sha256(prompt.encode()).hexdigest()
        if mark.exists():
            return False
        mark.touch()
        return True


def main(suffered: Path) -> int:
    """`worker.main.main` with the ailing model in place of the sound one."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end_before_the_loop)
    torch.set_num_threads(1)
    settings = read_settings(WorkerSettings)
    redis, storage = read_settings(RedisSettings), read_settings(StorageSettings)
    configure_logs(settings.log_format, settings.log_level, process="worker")

    def ailing_model() -> Loaded:
        loaded = keep_for_good(load(settings))
        return replace(loaded, renderer=Ailing(loaded.renderer, suffered))

    metrics = WorkerMetrics()
    parts = Parts(
        settings=settings,
        name=worker_name(settings),
        connect=lambda: connect_sync(str(redis.url), redis.timeout_s),
        storage=paired(open_store(storage), lambda: connect_sync(str(redis.url), redis.timeout_s)),
        plan=cache(lambda: plan_of(settings)),
        load=ailing_model,
        tell=tell_all(metrics.tell, Logbook(get_logger("worker")).tell),
    )
    try:
        return serve(parts, metrics)
    except Exception:  # noqa: BLE001 - as Python's own last words, for the process's log
        sys.excepthook(*sys.exc_info())
        return 1
