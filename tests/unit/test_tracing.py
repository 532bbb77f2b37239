"""Spans of a worker and of a process that is asked to trace; collected in memory, by a clock of the test."""

from __future__ import annotations

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from service.tracing import (
    Traces,
    TraceSettings,
    below,
    current_traceparent,
    no_traces,
    open_traces,
    trace_id_of,
)
from worker.events import AttemptBegan, AttemptEnded, CheckpointKept, StageFinished
from worker.spans import Spans

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


class Collected:
    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.traces = Traces(provider.get_tracer("test"), provider.shutdown)

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.exporter.get_finished_spans() if span.name == name]


def began(job: str, attempt: int = 1, waited_for: str = "queue") -> AttemptBegan:
    return AttemptBegan(job, attempt, "acme", TRACEPARENT, waited_for, 100.0, 103.5)


def seconds_of(span: ReadableSpan) -> float:
    assert span.start_time is not None
    assert span.end_time is not None
    return (span.end_time - span.start_time) / 1e9


def test_a_batch_makes_a_stage_for_each_of_its_attempts() -> None:
    seen = Collected()
    spans = Spans(seen.traces, clock=lambda: 200.0)
    for job in ("a", "b"):
        spans.tell(began(job))
    spans.tell(StageFinished("image_to_video", 12.0, (("a", 1), ("b", 1))))
    spans.tell(AttemptEnded("a", 1, "succeeded", "", 13.0))
    spans.tell(AttemptEnded("b", 1, "failed", "out_of_memory", 13.0))
    stages, attempts, queues = seen.named("image_to_video"), seen.named("attempt"), seen.named("queue")
    assert [seconds_of(stage) for stage in stages] == [12.0, 12.0]
    assert [dict(stage.attributes or {})["microcinema.batch_size"] for stage in stages] == [2, 2]
    assert {stage.parent.span_id for stage in stages if stage.parent} == {
        span.context.span_id for span in attempts if span.context
    }
    assert [seconds_of(queue) for queue in queues] == [3.5, 3.5]
    good, bad = attempts
    assert good.status.is_unset
    assert (bad.status.is_ok, bad.status.description) == (False, "out_of_memory")
    assert {format(span.context.trace_id, "032x") for span in attempts if span.context} == {TRACE}


def test_what_ended_is_forgotten() -> None:
    """A late word about an attempt that has ended adds nothing to anybody's trace."""
    seen = Collected()
    spans = Spans(seen.traces)
    spans.tell(began("a", waited_for="approval"))
    spans.tell(CheckpointKept("a", 1, 7, 1000, 0.1))
    spans.tell(AttemptEnded("a", 1, "released", "worker_stopped", 1.0))
    spans.tell(StageFinished("upload", 1.0, (("a", 1),)))
    spans.tell(AttemptEnded("a", 1, "released", "worker_stopped", 1.0))
    (attempt,) = seen.named("attempt")
    assert [event.name for event in attempt.events] == ["checkpoint"]
    assert attempt.status.description == "worker_stopped"
    assert len(seen.named("approval")) == 1
    assert not seen.named("upload")


def test_off_unless_an_endpoint_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not TraceSettings().wanted
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://127.0.0.1:1/v1/traces")
    assert TraceSettings().wanted
    traces = open_traces(TraceSettings(), "worker")
    span = traces.begin("work", TRACEPARENT)
    assert span.is_recording()
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    assert not open_traces(TraceSettings(), "worker").begin("work", TRACEPARENT).is_recording()


@pytest.mark.parametrize("text", ["", "00-xyz", "00-" + "0" * 32 + "-00f067aa0ba902b7-01"])
def test_what_is_no_traceparent_begins_a_trace_of_its_own(text: str) -> None:
    assert trace_id_of(text) == ""
    seen = Collected()
    seen.traces.begin("work", text).end()
    (span,) = seen.named("work")
    assert span.parent is None


def test_a_clock_that_was_set_back_makes_no_negative_time() -> None:
    seen = Collected()
    seen.traces.add("queue", TRACEPARENT, 103.0, 100.0)
    assert [seconds_of(span) for span in seen.named("queue")] == [0.0]


def test_nothing_around_is_no_traceparent() -> None:
    assert current_traceparent() == ""
    assert not no_traces().begin("work", "").is_recording()
    assert below("") == {}
