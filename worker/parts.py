"""What a worker is made of, as main.py chooses it and tests may replace it."""

from __future__ import annotations

import os
import re
import secrets
import signal
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from redis import Redis

from service.storage.artifact_store import ArtifactStore
from service.store.script import Store
from service.store.store import JobStore
from worker.device.plan import MemoryPlan
from worker.events import Tell
from worker.loading import Loaded
from worker.moderation import Checkers
from worker.settings import WorkerSettings


def drain_as_by_signal() -> None:
    """An operator's `worker drain` takes the one way that there is to drain."""
    os.kill(os.getpid(), signal.SIGTERM)


@dataclass(frozen=True)
class Parts:
    """What a worker is made of and tests may replace.

    `connect` opens a new Redis client each time: beats, announcements and sweeps must not wait for each
    other.
    """

    settings: WorkerSettings
    name: str
    connect: Callable[[], Redis]
    storage: ArtifactStore
    plan: Callable[[], MemoryPlan]
    load: Callable[[], Loaded]
    tell: Tell
    checkers: Checkers = field(default_factory=Checkers)
    clock: Callable[[], float] = time.monotonic
    end: Callable[[int], object] = os._exit
    drain: Callable[[], object] = drain_as_by_signal
    leave: threading.Event = field(default_factory=threading.Event)

    def store(self) -> JobStore:
        """The record, over a connection of its own."""
        return JobStore(Store(self.connect()))


def worker_name(settings: WorkerSettings) -> str:
    """Unique for each start: two on one machine, or one that starts again, never take each other's place."""
    device = re.sub(r"[^A-Za-z0-9]+", "_", settings.cuda_visible_devices)
    place = f"gpu{device}" if device else settings.device
    return f"{re.sub('[^A-Za-z0-9-]', '-', socket.gethostname())}-{place}-{secrets.token_hex(4)}"
