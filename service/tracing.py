"""Traces by OpenTelemetry: one tree for each job, from its POST through every stage to its webhooks.

Off unless an OTLP endpoint is set. The gateway's span is named in the job's record (W3C Trace Context:
`traceparent`), so that worker and notifier, which never hear of the request itself, hang theirs below it.
Spans carry ids, names and numbers: no prompt, no URL of anybody, no header.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from service.contracts.environment import AddressIfAny, UnusableSettings

Facts = Mapping[str, str | int | float]

_W3C = TraceContextTextMapPropagator()
_TRACEPARENT = "traceparent"


class TraceSettings(BaseSettings):
    """OpenTelemetry's own variables. The SDK reads all the others that its specification names, too."""

    model_config = SettingsConfigDict(extra="ignore")

    #: Where spans go, as OTLP over HTTP, such as http://collector:4318; unset: nothing is traced.
    endpoint: AddressIfAny = Field(default=None, validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT")
    #: The same for traces alone, with the whole path.
    traces_endpoint: AddressIfAny = Field(default=None, validation_alias="OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    #: What the process is called in traces.
    service_name: str | None = Field(default=None, validation_alias="OTEL_SERVICE_NAME")
    #: Nothing is traced, whatever else is set.
    disabled: bool = Field(default=False, validation_alias="OTEL_SDK_DISABLED")

    @property
    def wanted(self) -> bool:
        """Whether this process is to trace."""
        return bool(self.endpoint or self.traces_endpoint) and not self.disabled


@dataclass(frozen=True)
class Traces:
    """Makes spans. Times are seconds since 1970. `close` sends what still waits.

    `recorded` False: nobody will see them, so a span matters only as the messenger of its parent.
    """

    tracer: Tracer
    close: Callable[[], None]
    recorded: bool = True

    def begin(
        self, name: str, parent: str | Span, kind: SpanKind = SpanKind.INTERNAL, facts: Facts | None = None
    ) -> Span:
        """A span from now on, below a span or a traceparent (an empty one: the root of a new trace)."""
        context = trace.set_span_in_context(parent) if isinstance(parent, Span) else below(parent)
        return self.tracer.start_span(name, context, kind, facts)

    def add(
        self,
        name: str,
        parent: str | Span,
        began: float,
        ended: float,
        *,
        kind: SpanKind = SpanKind.INTERNAL,
        facts: Facts | None = None,
        fault: str = "",
    ) -> None:
        """A span that is over already. A `fault` marks it as failed and says why."""
        context = trace.set_span_in_context(parent) if isinstance(parent, Span) else below(parent)
        span = self.tracer.start_span(name, context, kind, facts, start_time=_nanoseconds(began))
        mark(span, fault)
        span.end(_nanoseconds(max(began, ended)))


def no_traces() -> Traces:
    """Records nothing, and hands a client's own traceparent on."""
    return Traces(trace.NoOpTracer(), lambda: None, recorded=False)


def open_traces(settings: TraceSettings, process: str) -> Traces:
    """What this process ("gateway", "worker", "notifier") traces with: nothing, unless that is asked for.

    Raises UnusableSettings when the extra `traces` is not installed.
    """
    if not settings.wanted:
        return no_traces()
    if any(find_spec(f"opentelemetry.{part}") is None for part in ("sdk", "exporter")):
        raise UnusableSettings(
            "OTEL_EXPORTER_OTLP_ENDPOINT is set, but traces need `pip install 'microcinema[traces]'`"
        )
    # Some tens of milliseconds and megabytes that nobody pays who does not trace.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    release = version("microcinema")
    name = settings.service_name or f"microcinema-{process}"
    provider = TracerProvider(
        resource=Resource.create({"service.name": name, "service.version": release}), shutdown_on_exit=False
    )
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Traces(provider.get_tracer("microcinema", release), provider.shutdown)


def current_traceparent() -> str:
    """The span around this code as a W3C traceparent; empty where there is none."""
    if trace.get_current_span() is trace.INVALID_SPAN:
        return ""  # what nearly every request of a gateway that does not trace comes to
    carrier: dict[str, str] = {}
    _W3C.inject(carrier)
    return carrier.get(_TRACEPARENT, "")


def below(traceparent: str) -> Context:
    """A context whose spans are children of that one; of nothing when it is empty or no traceparent."""
    return _W3C.extract({_TRACEPARENT: traceparent}, Context())


def trace_id_of(traceparent: str) -> str:
    """The 32 hexadecimal digits by which a whole trace is looked up; empty for what is no traceparent."""
    context = trace.get_current_span(below(traceparent)).get_span_context()
    return trace.format_trace_id(context.trace_id) if context.is_valid else ""


def mark(span: Span, fault: str) -> None:
    """Say that it failed, and why; nothing for an empty fault."""
    if fault:
        span.set_status(Status(StatusCode.ERROR, fault))


def _nanoseconds(seconds: float) -> int:
    return round(seconds * 1e9)
