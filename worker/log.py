"""Structured logs: one event per line, JSON in production, readable on a terminal."""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog

from worker.settings import LogFormat

Logger = structlog.stdlib.BoundLogger


def get_logger(name: str) -> Logger:
    """A logger whose events are words_with_underscores and whose facts are keyword arguments.

    It writes through `logging`, so that a program that only imports the client decides itself what is shown.
    """
    logger: Logger = structlog.wrap_logger(
        logging.getLogger(name),
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.render_to_log_kwargs,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    return logger


def configure_logging(form: LogFormat, level: str) -> None:
    """Send all logs of the process, including those of libraries, to stderr in one form."""
    on_terminal = form is LogFormat.CONSOLE or (form is LogFormat.AUTO and sys.stderr.isatty())
    renderer: list[Any] = (
        [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]  # locals may be secrets
        if on_terminal
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[
                structlog.stdlib.ExtraAdder(),
                structlog.stdlib.add_log_level,
                structlog.stdlib.add_logger_name,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
            ],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for chatty in ("celery.worker.strategy", "celery.app.trace"):
        # Two lines per message; `check_done` says it in one, with the decision.
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))
    # Each attempt to connect that fails; the error that ends the attempts says it once.
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
