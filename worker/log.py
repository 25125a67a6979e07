"""Structured logs: one event per line, JSON in production, readable on a terminal."""

from __future__ import annotations

import logging
import sys
import threading
import time
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


class LimitedWarnings:
    """Warnings that anyone can cause in any number: the first of each period in full, then how many more there were.

    Thread-safe. What is not logged must be stored elsewhere.
    """

    def __init__(self, log: Logger, event: str, *, most: int = 20, period: float = 60.0) -> None:
        """`most` per `period` seconds are logged; the others are counted in one line `{event}_more` at its end."""
        self._log, self._event, self._most, self._period = log, event, most, period
        self._lock = threading.Lock()
        self._ends_at = 0.0
        self._count = 0

    def warn(self, **facts: Any) -> None:
        """Log the warning with these facts, or count it."""
        with self._lock:
            now = time.monotonic()
            if now >= self._ends_at and self._count <= self._most:
                self._ends_at, self._count = now + self._period, 0
            self._count += 1
            count = self._count
            if count == self._most + 1:
                timer = threading.Timer(self._ends_at - now, self._summarize)
                timer.daemon = True
                timer.start()
        if count <= self._most:
            self._log.warning(self._event, **facts)

    def _summarize(self) -> None:
        with self._lock:
            more = self._count - self._most
            self._ends_at = self._count = 0
        self._log.warning(f"{self._event}_more", count=more)


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
    logging.getLogger("alembic").setLevel(logging.WARNING)  # lines about its own context
    # Each attempt to connect that fails; the error that ends the attempts says it once.
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
