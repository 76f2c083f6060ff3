"""How the program logs: one line an event, as text or as JSON, times in UTC. No secret, number or name above debug.

The libraries' own warnings are written in the same form: whoever reads the log by program never meets another one.
"""

from __future__ import annotations

import logging
import sys
from typing import Literal

import structlog
from structlog.typing import Processor

Format = Literal["text", "json"]

FIRST = ("timestamp", "level", "event")


def configure(*, form: Format = "text", debug: bool = False) -> None:
    """Log to standard error; the journal adds its own time where systemd runs us."""
    level = logging.DEBUG if debug else logging.INFO
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, _written(form)],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    _configure_libraries(form, shared)


def _configure_libraries(form: Format, shared: list[Processor]) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _written(form)],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)


def _written(form: Format) -> Processor:
    if form == "json":
        return _json
    return structlog.processors.LogfmtRenderer(key_order=list(FIRST), bool_as_flag=False)


def _json(logger: structlog.typing.WrappedLogger, name: str, event: structlog.typing.EventDict) -> str | bytes:
    """The usual keys first, so that a person can read it too; what JSON does not know is written as text."""
    ordered = {key: event[key] for key in FIRST if key in event}
    ordered |= event
    return structlog.processors.JSONRenderer(default=str, ensure_ascii=False)(logger, name, ordered)
