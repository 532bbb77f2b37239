"""An OpenTelemetry collector as far as a test needs one: it takes spans over OTLP/HTTP and keeps them."""

from __future__ import annotations

from dataclasses import dataclass

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from rig.receiver import Receiver


@dataclass(frozen=True)
class Seen:
    """One span. Times in seconds since 1970; `facts` are its attributes and those of its resource."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    began: float
    ended: float
    failed: bool
    facts: dict[str, str | int]


def spans_in(receiver: Receiver) -> list[Seen]:
    """All spans that have come, in the order in which they began."""
    found = []
    for received in list(receiver.received):
        message = ExportTraceServiceRequest()
        message.ParseFromString(received.body)
        for process in message.resource_spans:
            of_process = _facts(process.resource.attributes)
            for scope in process.scope_spans:
                found += [_seen(span, of_process) for span in scope.spans]
    return sorted(found, key=lambda span: span.began)


def _seen(span: object, of_process: dict[str, str | int]) -> Seen:
    return Seen(
        span.name,
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        span.start_time_unix_nano / 1e9,
        span.end_time_unix_nano / 1e9,
        span.status.code == 2,
        of_process | _facts(span.attributes),
    )


def _facts(attributes: object) -> dict[str, str | int]:
    values = {each.key: (each.value.WhichOneof("value"), each.value) for each in attributes}
    return {key: getattr(value, kind) for key, (kind, value) in values.items() if kind}
