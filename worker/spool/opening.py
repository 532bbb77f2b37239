"""The spool with parts of its own: its thread and the GPU's neither wait nor vouch for each other."""

from __future__ import annotations

import math
from collections.abc import Callable

from service.queue import Tickets
from worker.device.accelerator import Accelerator
from worker.lease import Leases
from worker.parts import Parts
from worker.patience import Patience
from worker.settlement import Settlement
from worker.spool.spool import Spool
from worker.spool.waiting import Bounds
from worker.step_gate import StepGate
from worker.upload import Uploader
from worker.watchdog import Pulse


def open_spool(
    parts: Parts,
    leases: Leases,
    accelerator: Accelerator,
    pulse: Pulse,
    *,
    on_end: Callable[[], object],
) -> Spool:
    """A spool as the settings want it; not started yet. `on_end` is called behind each attempt it ends."""
    settings, tell, clock = parts.settings, parts.tell, parts.clock
    store = parts.store()
    patience = Patience(parts.leave, pulse=pulse, tell=tell)
    # One try at a time: the spool itself knows when to come again.
    uploader = Uploader(parts.storage, patience_s=0.0, tell=tell, clock=clock)
    gate = StepGate(
        store,
        leases,
        attempt_limit_s=math.inf,  # it bounds the rendering; what is rendered may wait
        leave=parts.leave,
        pulse=pulse,
        tell=tell,
        clock=clock,
    )
    settlement = Settlement(
        store, Tickets(parts.connect()), leases, uploader, accelerator, patience, tell=tell, clock=clock
    )
    return Spool(
        settings.spool_dir.expanduser(),
        Bounds(
            videos=settings.spool_videos,
            bytes=settings.spool_bytes,
            patience_s=settings.upload_patience_s,
            drain_s=settings.spool_drain_s,
        ),
        leases,
        gate,
        uploader,
        settlement,
        patience,
        leave=parts.leave,
        on_end=on_end,
        pulse=pulse,
        tell=tell,
        clock=clock,
    )
