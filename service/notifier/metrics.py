"""What the notifier counts, as a reader of the facts that its parts report."""

import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from service.janitor import Cleared
from service.notifier.delivery import Tried
from service.store.deliveries import Relayed, Verdict


class NotifierMetrics:
    """Metrics in `registry`; each method takes one kind of fact. `clock`: seconds since 1970."""

    def __init__(self, registry: CollectorRegistry, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        ProcessCollector(registry=registry)
        self._tries = Counter(
            "microcinema_webhook_tries_total",
            "Webhook tries by what they meant for their delivery.",
            ["verdict"],
            registry=registry,
        )
        for verdict in Verdict:  # so that a rate() exists before the first failure
            self._tries.labels(verdict.value)
        self._seconds = Histogram(
            "microcinema_webhook_try_seconds",
            "Time from the start of a webhook try to its answer.",
            buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15),
            registry=registry,
        )
        self._lag = Histogram(
            "microcinema_webhook_lag_seconds",
            "Time from an event to its delivery, of those that were not sent again by hand.",
            buckets=(0.5, 1, 2.5, 5, 15, 60, 300, 1800, 3600, 6 * 3600, 24 * 3600),
            registry=registry,
        )
        self._disabled = Counter(
            "microcinema_webhook_endpoints_disabled_total",
            "Endpoints of owners that were disabled, by what their last try meant.",
            ["verdict"],
            registry=registry,
        )
        for verdict in (Verdict.GONE, Verdict.RETRY, Verdict.DEAD):
            self._disabled.labels(verdict.value)
        self._outbox = Gauge("microcinema_outbox_events", "Events not yet relayed.", registry=registry)
        self._due = Gauge("microcinema_webhook_due", "Deliveries due and not taken.", registry=registry)
        self._waiting = Gauge(
            "microcinema_webhook_waiting", "Deliveries that have not ended.", registry=registry
        )
        self._dead = Gauge("microcinema_webhook_dead", "Dead letters still kept.", registry=registry)
        self._purged = Counter(
            "microcinema_janitor_jobs_purged_total", "Job records forgotten.", registry=registry
        )
        self._deleted = Counter(
            "microcinema_janitor_objects_deleted_total", "Stored objects deleted.", registry=registry
        )

    def tried(self, fact: Tried) -> None:
        self._tries.labels(fact.settlement.verdict.value).inc()
        if fact.settlement.verdict is not Verdict.DROPPED:
            self._seconds.observe(fact.seconds)
        if fact.settlement.verdict is Verdict.DELIVERED and not fact.delivery.forgiven:
            # Redis' clock wrote the event: hosts differ by a little, and no delivery comes before its event.
            self._lag.observe(max(0.0, self._clock() - fact.delivery.event.created_at))
        if fact.disabled_endpoint:
            self._disabled.labels(fact.settlement.verdict.value).inc()

    def relayed(self, fact: Relayed) -> None:
        self._outbox.set(fact.outbox)
        self._due.set(fact.due)
        self._waiting.set(fact.waiting)
        self._dead.set(fact.dead)

    def cleared(self, fact: Cleared) -> None:
        self._purged.inc(fact.jobs)
        self._deleted.inc(fact.objects)
