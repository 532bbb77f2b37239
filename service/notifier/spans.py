"""Tries of deliveries, as spans of the traces that the gateway began."""

import time
from collections.abc import Callable

from opentelemetry.trace import SpanKind

from service.notifier.delivery import Tried
from service.store.deliveries import Verdict
from service.tracing import Traces


class DeliverySpans:
    """An observer of the courier. `clock` gives Unix seconds."""

    def __init__(self, traces: Traces, clock: Callable[[], float] = time.time) -> None:
        self._traces, self._clock = traces, clock

    def tried(self, tried: Tried) -> None:
        """One span for each try; of the receiver's URL only scheme, host and port are told."""
        now, delivery, settlement = self._clock(), tried.delivery, tried.settlement
        facts: dict[str, str | int] = {
            "microcinema.job_id": delivery.event.job_id,
            "microcinema.event": delivery.event.type,
            "microcinema.try": delivery.tries,
            "microcinema.verdict": settlement.verdict,
            "server.address": delivery.endpoint,
        }
        if settlement.status is not None:
            facts["http.response.status_code"] = settlement.status
        fault = "" if settlement.verdict is Verdict.DELIVERED else settlement.reason
        self._traces.add(
            "webhook",
            delivery.traceparent,
            now - tried.seconds,
            now,
            kind=SpanKind.CLIENT,
            facts=facts,
            fault=fault,
        )
