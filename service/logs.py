"""Structured logs for every process: one event name, named facts; JSON for machines or plain text for people.

Prompts are the customer's words, not ours: they never enter a log. A processor drops them even when a
caller passes one by mistake.
"""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from service.tracing import current_traceparent, trace_id_of

LogFormat = Literal["json", "human"]

#: Fields that hold what a customer wrote or a secret of ours.
PRIVATE_FIELDS = frozenset({"prompt", "negative_prompt", "secret", "authorization", "signature"})


def drop_private_fields(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Removes every field named in PRIVATE_FIELDS."""
    for field in PRIVATE_FIELDS & event.keys():
        del event[field]
    return event


def add_trace(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Adds `trace_id`, by which the traces of this moment are found, where there are any."""
    if traceparent := current_traceparent():
        event.setdefault("trace_id", trace_id_of(traceparent))
    return event


def configure_logs(
    log_format: LogFormat = "json", level: str = "INFO", *, process: str, stream: TextIO | None = None
) -> None:
    """Sends our logs and those of the libraries (through `logging`) to one stream in one format.

    log_format: "json" = one object a line, "human" = aligned text. level: a name of the standard library,
    such as "INFO"; an unknown one raises ValueError. process: the name every line carries ("gateway", ...).
    stream: defaults to standard error. Calling it again replaces the earlier set-up.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        add_trace,
        drop_private_fields,
    ]
    ending: list[Processor] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(ensure_ascii=False)]
        if log_format == "json"
        # Its default traceback, where `rich` is installed, shows local variables: prompts and secrets.
        else [structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)]
    )
    outlet = logging.StreamHandler(stream or sys.stderr)
    outlet.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _process_name(process),
                *ending,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [outlet]
    root.setLevel(level.upper())
    # Its line per request would carry whole URLs, and a webhook's URL may hold its owner's secret.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,  # a second configure_logs() must reach loggers made before it
    )


def _process_name(process: str) -> Processor:
    def add(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event["process"] = process
        return event

    return add


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger: `get_logger(__name__).info("job_claimed", job_id=..., attempt=...)`."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger


@contextmanager
def bound(**facts: object) -> Iterator[None]:
    """Every line written inside the block carries these facts (request id, job id, attempt, ...)."""
    with structlog.contextvars.bound_contextvars(**facts):
        yield
