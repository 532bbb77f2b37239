"""A span around each request, below the client's own where it sent a traceparent (W3C Trace Context)."""

from collections.abc import Container

from opentelemetry import trace
from opentelemetry.trace import SpanKind
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.answer_headers import asked
from service.tracing import Traces, mark

_SERVER_FAULTS = 500


class Traced:
    """Outside of RequestScope, whose log line is written within the span. Paths in `quiet` have none."""

    def __init__(self, app: ASGIApp, traces: Traces, quiet: Container[str]) -> None:
        self.app, self.traces, self.quiet = app, traces, quiet

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in self.quiet:
            await self.app(scope, receive, send)
            return
        parent = asked(scope, b"traceparent") or ""
        if not (parent or self.traces.recorded):
            await self.app(scope, receive, send)
            return
        method = scope["method"]
        span = self.traces.begin(method, parent, SpanKind.SERVER, {"http.request.method": method})

        async def observed(message: Message) -> None:
            if message["type"] == "http.response.start":
                status = message["status"]
                span.set_attribute("http.response.status_code", status)
                mark(span, f"HTTP {status}" if status >= _SERVER_FAULTS else "")
            await send(message)

        with trace.use_span(span, end_on_exit=True):
            try:
                await self.app(scope, receive, observed)
            finally:
                route = getattr(scope.get("route"), "path", None)
                if route is not None:  # a template: ids and queries (signatures!) never enter a span
                    span.update_name(f"{method} {route}")
                    span.set_attribute("http.route", route)
