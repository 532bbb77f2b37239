"""The gateway's numbers for Prometheus: its own requests, and the state of the queue read from the record."""

from collections.abc import Callable, Iterable, Iterator
from http import HTTPMethod

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from redis.exceptions import RedisError

from service.contracts.lifecycle import State
from service.remembered import Remembered
from service.store.gauges import Snapshot

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


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
        families = _families()
        snapshot = self._snapshot
        families["redis_up"].add_metric([], 0.0 if snapshot is None else 1.0)
        if snapshot is not None:
            for state in State:
                families["jobs"].add_metric([state], snapshot.states.get(state, 0))
            families["leases"].add_metric([], snapshot.leases)
            families["doomed_jobs"].add_metric([], snapshot.doomed)
            families["newer_records"].add_metric([], snapshot.left)
            families["outbox_events"].add_metric([], snapshot.outbox)
            families["jobs_set_aside"].add_metric([], snapshot.aside)
            families["intake_paused"].add_metric([], float("intake" in snapshot.pauses))
            for (pool, model), ratios in snapshot.eta_ratios.items():
                for share, ratio in zip(("0.5", "0.9"), ratios, strict=True):
                    families["eta_ratio"].add_metric([pool, model, share], ratio)
            for (pool, model), (foretold, late) in snapshot.promises.items():
                families["videos_foretold"].add_metric([pool, model], foretold)
                families["videos_late"].add_metric([pool, model], late)
            families["redis_aof_enabled"].add_metric([], float(snapshot.server.aof_enabled))
            families["redis_aof_written"].add_metric([], float(snapshot.server.aof_written))
            families["redis_memory_bytes"].add_metric([], snapshot.server.memory)
            families["redis_memory_bound_bytes"].add_metric([], snapshot.server.memory_bound)
            for pool, depth in snapshot.pools.items():
                families["ready_jobs"].add_metric([pool], depth.ready)
                families["running_jobs"].add_metric([pool], depth.running)
                families["attempts_lost"].add_metric([pool], depth.losses)
                families["backlog_gpu_seconds"].add_metric([pool], depth.backlog_gpu_s)
                families["oldest_ready_age_seconds"].add_metric([pool], depth.oldest_ready_age_s)
                families["live_workers"].add_metric([pool], depth.live_workers)
                families["draining_workers"].add_metric([pool], depth.draining)
                families["pool_paused"].add_metric([pool], float(f"pool:{pool}" in snapshot.pauses))
        yield from families.values()

    def describe(self) -> Iterable[Metric]:
        """Names without values, so that registering needs no Redis."""
        return _families().values()


def _families() -> dict[str, GaugeMetricFamily | CounterMetricFamily]:
    described: dict[str, tuple[str, list[str]]] = {
        "redis_up": ("1 if Redis answered the last reading.", []),
        "jobs": ("Job records by state.", ["state"]),
        "leases": ("Attempts that hold a lease.", []),
        "doomed_jobs": ("Ended jobs that await deletion.", []),
        "newer_records": ("Job records of newer versions, which this one leaves as they are.", []),
        "outbox_events": ("Events that no notifier has taken yet.", []),
        "jobs_set_aside": ("Jobs that stand still: somebody has spoiled their record by hand.", []),
        "ready_jobs": ("Jobs that a worker could claim now.", ["pool"]),
        "running_jobs": (
            "Jobs that an attempt holds now, rendered ones that wait for the storage too.",
            ["pool"],
        ),
        "backlog_gpu_seconds": (
            "Seconds of a GPU that the ready jobs should take, by what videos took of late.",
            ["pool"],
        ),
        "redis_aof_enabled": ("1 while the Redis server keeps an append-only file.", []),
        "redis_aof_written": ("0 while the last write to that file has failed.", []),
        "redis_memory_bytes": ("Memory that the Redis server uses.", []),
        "redis_memory_bound_bytes": ("Memory that it may use (maxmemory); 0 is no bound.", []),
        "oldest_ready_age_seconds": ("Wait of the job that has been ready longest.", ["pool"]),
        "live_workers": ("Workers that announced themselves lately.", ["pool"]),
        "draining_workers": ("Live workers that an operator told to drain.", ["pool"]),
        "eta_ratio": (
            "Time that this share of the last 100 videos took at most over the time foretold; 1 is exact.",
            ["pool", "model", "share"],
        ),
        "intake_paused": ("1 while an operator keeps new jobs out.", []),
        "pool_paused": ("1 while an operator keeps a pool's workers from claiming.", ["pool"]),
    }
    counted = {
        "attempts_lost": ("Attempts whose worker died or fell silent, by the record.", ["pool"]),
        "videos_foretold": (
            "Videos made whose time was foretold when they were accepted.",
            ["pool", "model"],
        ),
        "videos_late": ("Those of them that took more than twice that time and 30 s.", ["pool", "model"]),
    }
    gauges = {
        name: GaugeMetricFamily(f"microcinema_{name}", text, labels=labels)
        for name, (text, labels) in described.items()
    }
    return gauges | {
        name: CounterMetricFamily(f"microcinema_{name}", text, labels=labels)
        for name, (text, labels) in counted.items()
    }


class GatewayMetrics:
    """Everything that `/metrics` shows, in a registry of its own."""

    def __init__(self, queue: QueueGauges) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.queue = queue
        self.registry.register(queue)
        self._requests = Counter(
            "microcinema_http_requests_total",
            "Answered HTTP requests.",
            ["method", "route", "status"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "microcinema_http_request_duration_seconds",
            "Time from the first byte of a request to the last byte of its answer.",
            ["method", "route"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.in_progress = Gauge(
            "microcinema_http_requests_in_progress", "HTTP requests being worked on.", registry=self.registry
        )

        self._listeners = Gauge(
            "microcinema_listeners", "Streams of events that this process keeps open.", registry=self.registry
        )

    def watch_listeners(self, count: Callable[[], int]) -> None:
        """Ask `count` whenever somebody scrapes."""
        self._listeners.set_function(lambda: float(count()))

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Counts one answered request. `route` is a template such as /videos/{video_id}, never a path."""
        known = method if method in HTTPMethod.__members__ else "other"
        self._requests.labels(known, route, str(status)).inc()
        self._seconds.labels(known, route).observe(seconds)

    async def exposition(self) -> bytes:
        """The page in the text format that Prometheus scrapes."""
        await self.queue.refresh()
        return generate_latest(self.registry)
