"""The Celery app of a worker process: `susy worker`, or `celery -A susy_worker.celery worker`."""

from __future__ import annotations

import logging
import sys
from typing import Any

from celery import signals

from worker.errors import SetupError
from worker.log import configure_logging, get_logger
from worker.queue import tasks  # noqa: F401 (registers the tasks)
from worker.queue.celery_app import make_app
from worker.queue.consumer import ConnectionErrorFilter
from worker.queue.runtime import current
from worker.queue.shutdown import GracefulShutdown
from worker.settings import load_settings

log = get_logger(__name__)


def _exit_after(error: SetupError) -> SystemExit:
    print(error, file=sys.stderr)
    return SystemExit(2)


try:
    settings = load_settings()
    app = make_app(settings)
    app.steps["worker"].add(GracefulShutdown)
except SetupError as error:
    raise _exit_after(error) from error


@signals.setup_logging.connect
def _set_up_logging(**_: Any) -> None:
    configure_logging(settings.log_format, settings.log_level)
    logging.getLogger("celery.worker.consumer.consumer").addFilter(ConnectionErrorFilter())


@signals.worker_init.connect
def _start(**_: Any) -> None:
    configure_logging(settings.log_format, settings.log_level)  # this signal precedes `setup_logging`
    try:
        runtime = current.start(settings)
    except SetupError as error:
        raise _exit_after(error) from error
    identity = runtime.detector.identity
    log.info("weights_loaded", weights=identity.name, sha256=identity.sha256, device=str(runtime.detector.device))
    log.info("memory_budget", bytes=runtime.examiner.memory.capacity)


@signals.worker_ready.connect
def _report_ready(**_: Any) -> None:
    """Messages are taken: at the start, and again after each outage of Redis."""
    log.info("worker_ready")


@signals.worker_shutdown.connect
def _stop(**_: Any) -> None:
    current.stop()
