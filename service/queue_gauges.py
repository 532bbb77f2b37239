"""The state of the queue for Prometheus, read from the record: every gateway tells the same."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from redis.exceptions import RedisError

from service.contracts.lifecycle import State
from service.remembered import Remembered
from service.store.gauges import ModelDepth, PoolDepth, Snapshot

Series: TypeAlias = Iterable[tuple[Sequence[str], float]]
"""The values of a metric, each with those of its labels."""


@dataclass(frozen=True)
class Shown:
    """One metric: its name behind `microcinema_`, what it means, its labels, and its values in a snapshot."""

    name: str
    text: str
    labels: Sequence[str]
    read: Callable[[Snapshot], Series]
    counts: bool = False

    def family(self, snapshot: Snapshot | None) -> GaugeMetricFamily | CounterMetricFamily:
        """As it is scraped; without values where there is no snapshot."""
        kind = CounterMetricFamily if self.counts else GaugeMetricFamily
        family = kind(f"microcinema_{self.name}", self.text, labels=self.labels)
        if snapshot is not None:
            for labels, value in self.read(snapshot):
                family.add_metric(labels, value)
        return family


def _whole(name: str, text: str, value: Callable[[Snapshot], float]) -> Shown:
    return Shown(name, text, (), lambda snapshot: [((), value(snapshot))])


def _of_pool(name: str, text: str, value: Callable[[PoolDepth], float], *, counts: bool = False) -> Shown:
    def read(snapshot: Snapshot) -> Series:
        return (((pool,), value(depth)) for pool, depth in snapshot.pools.items())

    return Shown(name, text, ("pool",), read, counts)


def _of_promises(name: str, text: str, place: int) -> Shown:
    def read(snapshot: Snapshot) -> Series:
        return (((pool, model), kept[place]) for (pool, model), kept in snapshot.promises.items())

    return Shown(name, text, ("pool", "model"), read, counts=True)


def _of_model(
    name: str, text: str, values: Callable[[ModelDepth], Iterable[tuple[State, int]]], *, counts: bool = False
) -> Shown:
    def read(snapshot: Snapshot) -> Series:
        for (pool, model), depth in snapshot.models.items():
            for state, value in values(depth):
                yield (pool, model, state), value

    return Shown(name, text, ("pool", "model", "state"), read, counts)


def _of_priority(name: str, text: str, place: int) -> Shown:
    def read(snapshot: Snapshot) -> Series:
        return (((pool, str(asked)), kept[place]) for (pool, asked), kept in snapshot.priorities.items())

    return Shown(name, text, ("pool", "priority"), read)


def _eta_ratios(snapshot: Snapshot) -> Series:
    for (pool, model), ratios in snapshot.eta_ratios.items():
        for share, ratio in zip(("0.5", "0.9"), ratios, strict=True):
            yield (pool, model, share), ratio


def _shares_by_rank(snapshot: Snapshot) -> Series:
    """The foremost by rank and the rest together: names would be a label that grows without bound."""
    for pool, shares in snapshot.shares.items():
        if shares:
            for rank, share in enumerate(shares, 1):
                yield (pool, str(rank)), share
            yield (pool, "others"), max(0.0, 1 - sum(shares))


SHOWN: Sequence[Shown] = (
    Shown(
        "jobs",
        "Job records by state.",
        ("state",),
        lambda snapshot: (((state,), snapshot.states.get(state, 0)) for state in State),
    ),
    _whole("leases", "Attempts that hold a lease.", lambda snapshot: snapshot.leases),
    _whole("doomed_jobs", "Ended jobs that await deletion.", lambda snapshot: snapshot.doomed),
    _whole(
        "newer_records",
        "Job records of newer versions, which this one leaves as they are.",
        lambda snapshot: snapshot.left,
    ),
    _whole("outbox_events", "Events that no notifier has taken yet.", lambda snapshot: snapshot.outbox),
    _whole(
        "jobs_set_aside",
        "Jobs that stand still: somebody has spoiled their record by hand.",
        lambda snapshot: snapshot.aside,
    ),
    _whole(
        "intake_paused",
        "1 while an operator keeps new jobs out.",
        lambda snapshot: "intake" in snapshot.pauses,
    ),
    # by pool
    _of_pool("ready_jobs", "Jobs that a worker could claim now.", lambda depth: depth.ready),
    _of_pool(
        "running_jobs",
        "Jobs that an attempt holds now, rendered ones that wait for the storage too.",
        lambda depth: depth.running,
    ),
    _of_pool(
        "backlog_gpu_seconds",
        "Seconds of a GPU that the ready jobs should take, by what videos took of late.",
        lambda depth: depth.backlog_gpu_s,
    ),
    _of_pool(
        "oldest_ready_age_seconds",
        "Wait of the job that has been ready longest.",
        lambda depth: depth.oldest_ready_age_s,
    ),
    _of_pool("live_workers", "Workers that announced themselves lately.", lambda depth: depth.live_workers),
    _of_pool(
        "draining_workers", "Live workers that an operator told to drain.", lambda depth: depth.draining
    ),
    Shown(
        "pool_paused",
        "1 while an operator keeps a pool's workers from claiming.",
        ("pool",),
        lambda snapshot: (((pool,), f"pool:{pool}" in snapshot.pauses) for pool in snapshot.pools),
    ),
    _of_pool(
        "waiting_tenants",
        "Tenants that have a job which a worker could claim now.",
        lambda depth: depth.waiting_tenants,
    ),
    Shown(
        "tenant_gpu_share",
        "Part that the tenant of this rank has of the GPU seconds taken of late (half an hour earlier counts "
        "half); `microcinema tenant list` names it.",
        ("pool", "rank"),
        _shares_by_rank,
    ),
    _of_pool(
        "attempts_lost",
        "Attempts whose worker died or fell silent, by the record.",
        lambda depth: depth.losses,
        counts=True,
    ),
    _of_priority("priority_ready_jobs", "Jobs that a worker could claim now, by the priority asked for.", 0),
    _of_priority(
        "priority_oldest_ready_age_seconds",
        "Wait of the job of this priority that has been ready longest; ageing changes ranks, no priority.",
        1,
    ),
    # by model
    _of_model(
        "model_jobs",
        "Jobs that wait for a worker (queued) or have one (running), by model.",
        lambda depth: ((State.QUEUED, depth.ready), (State.RUNNING, depth.running)),
    ),
    _of_model(
        "job_moves",
        "Times that a job came into this state, by the record.",
        lambda depth: depth.moves.items(),
        counts=True,
    ),
    Shown(
        "jobs_cancelled",
        "Cancelled jobs by where they stood when it took effect: a stage, or queued, awaiting_approval, or "
        "claimed (an attempt had it and no stage yet).",
        ("stage",),
        lambda snapshot: (((place,), jobs) for place, jobs in snapshot.cancels.items()),
        counts=True,
    ),
    Shown(
        "eta_ratio",
        "Time that this share of the last 100 videos took at most over the time foretold; 1 is exact.",
        ("pool", "model", "share"),
        _eta_ratios,
    ),
    _of_promises("videos_foretold", "Videos made whose time was foretold when they were accepted.", 0),
    _of_promises("videos_late", "Those of them that took more than twice that time and 30 s.", 1),
    # of the server
    _whole(
        "redis_aof_enabled",
        "1 while the Redis server keeps an append-only file.",
        lambda snapshot: snapshot.server.aof_enabled,
    ),
    _whole(
        "redis_aof_written",
        "0 while the last write to that file has failed.",
        lambda snapshot: snapshot.server.aof_written,
    ),
    _whole(
        "redis_aof_rewritten",
        "0 while the last rewrite of that file, which makes it short again, has failed.",
        lambda snapshot: snapshot.server.aof_rewritten,
    ),
    _whole(
        "redis_aof_bytes",
        "What that file takes of the disk now; a rewrite needs room beside it.",
        lambda snapshot: snapshot.server.aof_bytes,
    ),
    _whole(
        "redis_aof_base_bytes",
        "What it took behind its last rewrite.",
        lambda snapshot: snapshot.server.aof_base_bytes,
    ),
    Shown(
        "redis_aof_delayed_fsyncs",
        "Writes to that file that had to wait for the disk (appendfsync everysec).",
        (),
        lambda snapshot: [((), snapshot.server.delayed_fsyncs)],
        counts=True,
    ),
    _whole(
        "redis_snapshot_saved",
        "0 while the last dump of the Redis server (BGSAVE) has failed.",
        lambda snapshot: snapshot.server.snapshot_saved,
    ),
    _whole(
        "redis_memory_bytes", "Memory that the Redis server uses.", lambda snapshot: snapshot.server.memory
    ),
    _whole(
        "redis_memory_bound_bytes",
        "Memory that it may use (maxmemory); 0 is no bound.",
        lambda snapshot: snapshot.server.memory_bound,
    ),
)


class QueueGauges(Collector):
    """Gauges of the whole service. Without Redis they are left out, and microcinema_redis_up says 0."""

    def __init__(self, snapshots: Remembered[Snapshot]) -> None:
        self._snapshots = snapshots
        self._snapshot: Snapshot | None = None

    async def refresh(self) -> None:
        """Takes the latest snapshot; without Redis there is none."""
        try:
            self._snapshot = await self._snapshots.get()
        except (RedisError, OSError, TimeoutError):
            self._snapshot = None

    def collect(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("microcinema_redis_up", "1 if Redis answered the last reading.")
        up.add_metric([], self._snapshot is not None)
        yield up
        yield from (shown.family(self._snapshot) for shown in SHOWN)

    def describe(self) -> Iterable[Metric]:
        """Names without values, so that registering needs no Redis."""
        yield GaugeMetricFamily("microcinema_redis_up", "1 if Redis answered the last reading.")
        yield from (shown.family(None) for shown in SHOWN)
