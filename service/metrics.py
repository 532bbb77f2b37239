"""The gateway's numbers for Prometheus: its own requests, and the state of the queue (queue_gauges.py)."""

from collections.abc import Callable
from http import HTTPMethod

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from service.http_protocol import GIVEN_UP
from service.queue_gauges import QueueGauges

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


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
        self._refused = Counter(
            "microcinema_requests_refused",
            "Requests that were refused, by the code of the problem that answered them.",
            ["code"],
            registry=self.registry,
        )
        self._given_up = Counter(
            "microcinema_connections_given_up",
            "Connections ended for the client's fault: a late head, an answer not taken, or no HTTP/1.1.",
            ["reason"],
            registry=self.registry,
        )
        for reason in GIVEN_UP:
            self._given_up.labels(reason)  # a series that begins with its first case shows no increase
        self._known: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        #: Requests being worked on.
        self.in_progress = 0
        Gauge(
            "microcinema_http_requests_in_progress", "HTTP requests being worked on.", registry=self.registry
        ).set_function(lambda: float(self.in_progress))

        self._listeners = Gauge(
            "microcinema_listeners", "Streams of events that this process keeps open.", registry=self.registry
        )

    def watch_listeners(self, count: Callable[[], int]) -> None:
        """Ask `count` whenever somebody scrapes."""
        self._listeners.set_function(lambda: float(count()))

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Counts one answered request. `route` is a template such as /videos/{video_id}, never a path."""
        known = method if method in HTTPMethod.__members__ else "other"
        count, duration = self._series(known, route, status)
        count.inc()
        duration.observe(seconds)

    def _series(self, method: str, route: str, status: int) -> tuple[Counter, Histogram]:
        """What such a request is counted in. To look a series up by its labels takes longer than to count."""
        known = self._known.get((method, route, status))
        if known is None:
            known = (
                self._requests.labels(method, route, str(status)),
                self._seconds.labels(method, route),
            )
            self._known[method, route, status] = known
        return known

    def count_refusal(self, code: str) -> None:
        """Counts one refused request by the code of its problem; docs/errors.md lists them all."""
        self._refused.labels(code).inc()

    def count_given_up(self, reason: str) -> None:
        """Counts one connection that was ended; `reason` is one of GIVEN_UP."""
        self._given_up.labels(reason).inc()

    async def exposition(self) -> bytes:
        """The page in the text format that Prometheus scrapes."""
        await self.queue.refresh()
        return generate_latest(self.registry)
