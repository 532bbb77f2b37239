"""The worker's events, as spans of the traces that the gateway began.

    queue | attempt: text_to_image | image_to_video | encode | upload

An attempt is a child of the request that made its job, its stages are children of the attempt. A process that
dies takes the attempt's span with it; the stages that had ended, and the next attempt, are told all the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from opentelemetry.trace import Span, SpanKind

from service.tracing import Traces, mark
from worker.events import AttemptBegan, AttemptEnded, CheckpointKept, StageFinished, WorkerEvent

#: Ends that are nobody's fault.
_GOOD = frozenset({"succeeded", "cancelled", "held"})


class Spans:
    """A reader of events (`tell`), called from the story's thread and the spool's. `clock`: Unix seconds."""

    def __init__(self, traces: Traces, clock: Callable[[], float] = time.time) -> None:
        self._traces, self._clock = traces, clock
        self._running: dict[tuple[str, int], Span] = {}

    def tell(self, event: WorkerEvent) -> None:
        """Begin, add to or end the spans of the attempts that the event is about."""
        match event:
            case AttemptBegan():
                self._begin(event)
            case StageFinished(stage, seconds, attempts):
                now = self._clock()
                for held in attempts:
                    if held in self._running:
                        facts = {"microcinema.batch_size": len(attempts)}
                        self._traces.add(stage, self._running[held], now - seconds, now, facts=facts)
            case CheckpointKept(job_id, attempt, step):
                if (job_id, attempt) in self._running:
                    self._running[(job_id, attempt)].add_event("checkpoint", {"step": step})
            case AttemptEnded(job_id, attempt, outcome, code):
                span = self._running.pop((job_id, attempt), None)
                if span is not None:
                    span.set_attribute("microcinema.outcome", outcome)
                    mark(span, "" if outcome in _GOOD else code or outcome)
                    span.end()
            case _:
                pass

    def _begin(self, event: AttemptBegan) -> None:
        above = event.traceparent
        facts: dict[str, str | int] = {
            "microcinema.job_id": event.job_id,
            "microcinema.attempt": event.attempt,
            "microcinema.tenant": event.tenant,
        }
        self._traces.add(event.waited_for, above, event.waited_since, event.claimed_at, facts=facts)
        span = self._traces.begin("attempt", above, SpanKind.CONSUMER, facts)
        self._running[(event.job_id, event.attempt)] = span
