"""Between the settings and the first job: the plan is said aloud, the model has run once."""

from __future__ import annotations

import gc

from service.logs import get_logger
from worker.device.plan import MemoryPlan
from worker.events import Tell
from worker.loading import Loaded, WrongSettings
from worker.memory_events import MemoryPlanned


def tell_plan(plan: MemoryPlan, max_batch: int, grace_s: float, tell: Tell) -> None:
    """Log the whole plan before anything is loaded, with a warning if fewer jobs fit than `max_batch`.

    `grace_s`: seconds of silence after which this worker counts as hung.
    """
    log = get_logger("worker")
    log.info("memory_plan", **plan.facts(), hang_grace_s=round(grace_s))
    if plan.batch < max_batch:
        log.warning("max_batch_lowered", MICROCINEMA_MAX_BATCH=max_batch, fits=plan.batch)
    tell(MemoryPlanned(plan.need.weight_bytes, plan.activations, plan.reserve, plan.device.total))


def warm_up(loaded: Loaded, plan: MemoryPlan) -> None:
    """Run the model once, as planned. Raises WrongSettings if memory is short all the same."""
    try:
        loaded.renderer.economise(plan.thrift)
        loaded.renderer.warm_up()
    except Exception as error:
        if not loaded.accelerator.is_out_of_memory(error):
            raise
        raise WrongSettings(
            f"memory ran out while warming up although the plan was: {plan.sentence()}; is another process "
            "using the device?"
        ) from error


def keep_for_good(loaded: Loaded) -> Loaded:
    """What a worker has imported and loaded stays until its end: the collector need not look at it again.

    Half a million objects take 0.3 s of a core, and whoever looks through them holds Python's lock, which the
    beats need. It happens when memory is short, and on a host without a core to spare it outlasted a lease.
    """
    gc.collect()
    gc.freeze()
    return loaded
