"""Structured logs for every process: one event name, named facts; JSON for machines, plain text for people.

Prompts are the customer's words, not ours: they never enter a log. A processor drops them even when a
caller passes one by mistake.
"""

import json
import logging
import sys
from collections.abc import Mapping
from contextlib import nullcontext
from contextvars import ContextVar, Token
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Literal, TextIO

import structlog
from pydantic_core import PydanticSerializationError, to_json
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

from service.tracing import current_traceparent, trace_id_of

LogFormat = Literal["auto", "json", "human"]

#: Fields that hold what a customer wrote or a secret of ours.
PRIVATE_FIELDS = frozenset({"prompt", "negative_prompt", "secret", "authorization", "signature"})

_BOUND: ContextVar[Mapping[str, object]] = ContextVar("microcinema_facts", default=MappingProxyType({}))


def drop_private_fields(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Removes every field named in PRIVATE_FIELDS."""
    for field in PRIVATE_FIELDS & event.keys():
        del event[field]
    return event


def add_bound_facts(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Adds what `bound` holds around this moment."""
    for name, fact in _BOUND.get().items():
        event.setdefault(name, fact)
    return event


def add_time(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Adds `timestamp`, in UTC (RFC 3339)."""
    event["timestamp"] = f"{datetime.now(UTC).isoformat()[: -len('+00:00')]}Z"
    return event


def add_trace(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Adds `trace_id`, by which the traces of this moment are found, where there are any."""
    if traceparent := current_traceparent():
        event.setdefault("trace_id", trace_id_of(traceparent))
    return event


def format_for(log_format: LogFormat, stream: TextIO) -> Literal["json", "human"]:
    """What "auto" means for this stream: text on a terminal, where a person reads, JSON everywhere else."""
    if log_format == "auto":
        return "human" if stream.isatty() else "json"
    return log_format


def configure_logs(
    log_format: LogFormat = "auto", level: str = "INFO", *, process: str, stream: TextIO | None = None
) -> None:
    """Sends our logs and those of the libraries (through `logging`) to one stream in one format.

    log_format: "json" = one object a line, "human" = aligned text, "auto" = by `format_for`. level: a name of
    the standard library, such as "INFO"; an unknown one raises ValueError. process: the name every line
    carries ("gateway", ...).
    stream: defaults to standard error. Calling it again replaces the earlier set-up.
    """
    stream = stream or sys.stderr
    root = logging.getLogger()
    root.setLevel(level.upper())
    shared: list[Processor] = [
        add_bound_facts,
        structlog.processors.add_log_level,
        structlog.stdlib.add_logger_name,
        add_time,
        add_trace,
        drop_private_fields,
        _process_name(process),
    ]
    ending: list[Processor] = (
        [structlog.processors.format_exc_info, _as_json]
        if format_for(log_format, stream) == "json"
        # Its default traceback, where `rich` is installed, shows local variables: prompts and secrets.
        else [structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)]
    )
    outlet = logging.StreamHandler(stream)
    outlet.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *ending],
        )
    )
    root.handlers = [outlet]
    # Its line per request would carry whole URLs, and a webhook's URL may hold its owner's secret.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    # Past `logging`, whose records are most of what a line costs: every request writes one.
    structlog.configure(
        processors=[*shared, *ending],
        logger_factory=lambda name=process: _Outlet(name, outlet),
        wrapper_class=_lines_from(root.level),
        cache_logger_on_first_use=False,  # a second configure_logs() must reach loggers made before it
    )


def _lines_from(level: int) -> type[FilteringBoundLogger]:
    """structlog's logger from this level on, without the copies that it makes of a line's facts on their way.

    Every request writes a line, and the way to the first processor was a third of what that took.
    """
    usual: Any = structlog.make_filtering_bound_logger(level)

    class Lines(usual):  # type: ignore[misc]
        def _proxy_to_logger(self, method_name: str, event: str | None = None, **facts: Any) -> None:
            line: Any = {**self._context, **facts, "event": event}
            try:
                for processor in self._processors:
                    line = processor(self._logger, method_name, line)
            except structlog.DropEvent:
                return
            self._logger.msg(line)

    chosen: type[FilteringBoundLogger] = Lines
    return chosen


class _Outlet:
    """Writes whole lines through the handler of all others, under its lock.

    A stream that is full or closed is reported as `logging` does it, and never to whoever logs.
    """

    def __init__(self, name: str, handler: "logging.StreamHandler[TextIO]") -> None:
        self.name = name
        self._handler = handler

    def msg(self, line: str) -> None:
        with self._handler.lock or nullcontext():
            try:
                self._handler.stream.write(f"{line}\n")
                self._handler.flush()
            except (OSError, ValueError):  # full or gone; closed
                self._handler.handleError(logging.makeLogRecord({"msg": line}))


_ENCODE = json.JSONEncoder(ensure_ascii=False, default=repr, separators=(",", ":")).encode


def _as_json(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    try:
        return to_json(event, fallback=repr).decode()
    except (PydanticSerializationError, ValueError):  # half a surrogate pair, or bytes that are no text
        return _ENCODE(event)


def _process_name(process: str) -> Processor:
    def add(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event["process"] = process
        return event

    return add


def get_logger(name: str) -> FilteringBoundLogger:
    """A logger: `get_logger(__name__).info("job_claimed", job_id=..., attempt=...)`."""
    logger: FilteringBoundLogger = structlog.get_logger(name)
    return logger


class Bound:
    """A block whose every line carries these facts, beside those of the blocks around it."""

    __slots__ = ("_before", "_facts")

    def __init__(self, facts: Mapping[str, object]) -> None:
        self._facts = facts
        self._before: Token[Mapping[str, object]] | None = None

    def __enter__(self) -> None:
        self._before = _BOUND.set({**_BOUND.get(), **self._facts})

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            _BOUND.reset(self._before)


def bound(**facts: object) -> Bound:
    """Every line written inside the block carries these facts (request id, job id, attempt, ...)."""
    return Bound(facts)
