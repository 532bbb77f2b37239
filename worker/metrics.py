"""The worker's events, counted for Prometheus. Nothing in the story knows that this file exists.

No label carries a job id, a tenant or a prompt: each would grow without bound.
"""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from worker.device.ladder import Rung
from worker.events import (
    AttemptEnded,
    BatchClaimed,
    BatchSplit,
    CheckpointFailed,
    CheckpointIgnored,
    CheckpointKept,
    DeviceFault,
    DeviceTimeSpent,
    Fault,
    Hung,
    KeyframeLost,
    LeaseLost,
    Resumed,
    SpoolChanged,
    StageFinished,
    StepFinished,
    StorageAway,
    StorageRetried,
    StoreUnreachable,
    Uploaded,
    WeightsLoaded,
    WorkerEvent,
)
from worker.memory_events import MemoryPlanned, MemoryRungClimbed, MemoryRungHelped, MemoryRungLeft

_STEP_BUCKETS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30)
_STAGE_BUCKETS = (0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000)
#: Label values that are there from the start: Prometheus cannot see an increase from nothing to 1.
_OUTCOMES = ("succeeded", "failed", "cancelled", "expired", "held", "released", "lost", "refused")
_KEPT = ("written", "failed", "resumed", "ignored")
_COMMANDS = ("claim", "beat", "note", "preview", "record", "ticket", "announce", "sweep")


class WorkerMetrics:
    """A reader of events (`tell`) with a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        name, registry = "microcinema_worker_", self.registry
        ProcessCollector(registry=registry)
        self._steps = Histogram(
            name + "step_seconds",
            "Seconds per denoising step of a batch; their count is that of the steps.",
            ["stage"],
            buckets=_STEP_BUCKETS,
            registry=registry,
        )
        self._stages = Histogram(
            name + "stage_seconds",
            "Seconds per finished stage.",
            ["stage"],
            buckets=_STAGE_BUCKETS,
            registry=registry,
        )
        self._spent = Counter(
            name + "gpu_seconds_total",
            "Seconds of the device that stages took: what the jobs in them are billed together.",
            ["stage"],
            registry=registry,
        )
        self._attempts = Counter(
            name + "attempts_total",
            "Attempts that ended here, by outcome and by failure code or reason.",
            ["outcome", "code"],
            registry=registry,
        )
        self._busy = Gauge(name + "attempts_running", "Attempts that run now.", registry=registry)
        self._batches = Histogram(
            name + "batch_jobs", "Jobs per claim.", buckets=(1, 2, 4, 8, 16, 32, 64), registry=registry
        )
        self._splits = Counter(
            name + "batch_splits_total",
            "Batches that failed as a whole and were sent to run one by one.",
            ["code"],
            registry=registry,
        )
        self._planned = Gauge(
            name + "memory_planned_bytes",
            "The plan of device memory; `device` is what the device has.",
            ["part"],
            registry=registry,
        )
        self._climbs = Counter(
            name + "memory_rungs_total",
            "Rungs of the out-of-memory ladder that were tried, and that helped.",
            ["rung", "outcome"],
            registry=registry,
        )
        self._rung = Gauge(
            name + "memory_rung", "The rung that jobs run on now; 0 is as planned.", registry=registry
        )
        self._loads = Counter(name + "model_loads_total", "Times weights were loaded.", registry=registry)
        self._load_seconds = Gauge(
            name + "model_load_seconds", "Seconds that load and warm-up took.", registry=registry
        )
        self._lost = Counter(
            name + "leases_lost_total",
            "Leases lost, by the record's answer or by silence.",
            ["by"],
            registry=registry,
        )
        self._storage = Counter(
            name + "storage_retries_total",
            "Calls to storage that failed and were put off.",
            registry=registry,
        )
        self._spool = {
            part: Gauge(name + f"spool_{part}", says, registry=registry)
            for part, says in (
                ("videos", "Rendered videos that wait to be stored."),
                ("bytes", "Bytes of the videos that wait to be stored."),
                ("full", "1 while the spool is full and nothing is claimed."),
            )
        }
        self._uploaded = Counter(
            name + "upload_bytes_total", "Bytes that the storage took from the spool.", registry=registry
        )
        self._disk = Gauge(
            name + "spool_disk_free_bytes", "What the disk of the spool can still take.", registry=registry
        )
        self._unreachable = Counter(
            name + "store_unreachable_total",
            "Commands to the record that got no answer.",
            ["command"],
            registry=registry,
        )
        self._keyframes = Counter(
            name + "keyframes_lost_total", "Stored pictures that could not be read back.", registry=registry
        )
        self._checkpoints = Counter(
            name + "checkpoints_total",
            "Clips between two steps: written, failed to be, resumed from, or ignored.",
            ["outcome"],
            registry=registry,
        )
        self._faults = Counter(
            name + "faults_total",
            "Errors nobody has foreseen, and broken devices.",
            ["kind"],
            registry=registry,
        )

        self._kept_bytes = Counter(
            name + "checkpoint_bytes_total",
            "Bytes of clips that were stored between two steps.",
            registry=registry,
        )
        self._in_use = Gauge(
            name + "device_memory_bytes",
            "Device memory in use now, by anybody; without a GPU, this process's memory.",
            registry=registry,
        )
        for outcome in _OUTCOMES:
            self._attempts.labels(outcome, "")
        self._splits.labels("out_of_memory")
        for by in ("answer", "silence"):
            self._lost.labels(by)
        for command in _COMMANDS:
            self._unreachable.labels(command)
        for outcome in _KEPT:
            self._checkpoints.labels(outcome)
        for kind in ("device", "hung", "error"):
            self._faults.labels(kind)
        for outcome in ("tried", "helped"):
            for rung in filter(None, Rung):
                self._climbs.labels(rung.name.lower(), outcome)

    def watch_memory(self, in_use: Callable[[], int | None]) -> None:
        """Ask `in_use` (bytes) whenever somebody scrapes; None shows as 0."""
        self._in_use.set_function(lambda: float(in_use() or 0))

    def watch_disk(self, free: Callable[[], int]) -> None:
        """Ask `free` (bytes) whenever somebody scrapes."""
        self._disk.set_function(lambda: float(free()))

    def tell(self, event: WorkerEvent) -> None:
        """Count one event."""
        match event:
            case StepFinished(stage=stage, seconds=seconds):
                self._steps.labels(stage).observe(seconds)
            case DeviceTimeSpent(stage=stage, seconds=seconds):
                self._spent.labels(stage).inc(seconds)
            case StageFinished(stage=stage, seconds=seconds):
                self._stages.labels(stage).observe(seconds)
            case BatchClaimed(job_ids):
                self._batches.observe(len(job_ids))
                self._busy.inc(len(job_ids))
            case AttemptEnded(outcome=outcome, code=code):
                self._attempts.labels(outcome, code).inc()
                self._busy.dec()
            case BatchSplit(code=code):
                self._splits.labels(code).inc()
            case MemoryPlanned(weights, activations, reserve, device):
                parts = {"weights": weights, "activations": activations, "reserve": reserve, "device": device}
                for part, size in parts.items():
                    self._planned.labels(part).set(size)
            case MemoryRungClimbed(rung=rung, height=height):
                self._climbs.labels(rung, "tried").inc()
                self._rung.set(height)
            case MemoryRungHelped(rung=rung):
                self._climbs.labels(rung, "helped").inc()
            case MemoryRungLeft(height=height):
                self._rung.set(height)
            case WeightsLoaded(seconds=seconds):
                self._loads.inc()
                self._load_seconds.set(seconds)
            case LeaseLost(by=by):
                self._lost.labels(by).inc()
            case StorageRetried() | StorageAway():
                self._storage.inc()
            case SpoolChanged(videos, size, full):
                for part, amount in (("videos", videos), ("bytes", size), ("full", int(full))):
                    self._spool[part].set(amount)
            case Uploaded(size):
                self._uploaded.inc(size)
            case StoreUnreachable(command=command):
                self._unreachable.labels(command).inc()
            case KeyframeLost():
                self._keyframes.inc()
            case CheckpointKept(bytes=size):
                self._checkpoints.labels("written").inc()
                self._kept_bytes.inc(size)
            case CheckpointFailed():
                self._checkpoints.labels("failed").inc()
            case Resumed():
                self._checkpoints.labels("resumed").inc()
            case CheckpointIgnored():
                self._checkpoints.labels("ignored").inc()
            case DeviceFault():
                self._faults.labels("device").inc()
            case Hung():
                self._faults.labels("hung").inc()
            case Fault():
                self._faults.labels("error").inc()
