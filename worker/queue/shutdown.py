"""Shutdown of a worker: in order, within its grace period, and never with half a verdict.

Under the threads pool, Celery's warm shutdown waits for running tasks without a limit, and its cold shutdown cannot end
a thread. Therefore this step handles the signals. A warm shutdown (SIGTERM, or SIGINT once) lets Celery stop taking
messages and finish what runs. When the grace period is over, or at once for a cold shutdown (SIGQUIT, or SIGINT again),
claims return to the ledger and messages to Redis, and the process exits. A verdict is one transaction under a lease, so
a released attempt can no longer write one.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from typing import Any

from celery import bootsteps
from celery.worker import state

from worker.log import get_logger
from worker.queue.runtime import current
from worker.settings import Settings

log = get_logger(__name__)

RELEASE_TIMEOUT = 8.0
"""Seconds that releasing claims and messages may take; an unavailable service must not keep the process alive."""
COLD_EXIT_CODE = 1


class GracefulShutdown(bootsteps.StartStopStep):  # type: ignore[misc]
    """A step of the worker's start that follows Celery's installation of its own signal handlers."""

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        self._worker = parent
        self._grace = 0.0
        self._warm = threading.Event()
        self._cold = threading.Event()

    def start(self, parent: Any) -> None:
        settings: Settings = current.get().settings
        self._grace = settings.shutdown_grace
        threading.Thread(target=self._wait_and_exit, name="graceful-shutdown", daemon=True).start()
        signal.signal(signal.SIGTERM, lambda *_: self._begin_warm())
        signal.signal(signal.SIGINT, lambda *_: self._begin_cold() if self._warm.is_set() else self._begin_warm())
        signal.signal(signal.SIGQUIT, lambda *_: self._begin_cold())

    def stop(self, parent: Any) -> None:
        """Nothing: the waiting thread is needed until the process has ended."""

    def _begin_warm(self) -> None:
        state.should_stop = 0  # Celery's event loop reads it and begins its warm shutdown
        self._warm.set()

    def _begin_cold(self) -> None:
        self._cold.set()
        self._begin_warm()

    def _wait_and_exit(self) -> None:
        self._warm.wait()
        log.info("worker_stopping", grace=self._grace)
        self._cold.wait(self._grace)
        cold = self._cold.is_set()
        log.warning("worker_cold_shutdown", reason="signal" if cold else "grace period is over")
        _run_within(RELEASE_TIMEOUT, self._release_claims, self._restore_messages)
        os._exit(COLD_EXIT_CODE if cold else 0)

    def _release_claims(self) -> None:
        current.get().heartbeat.release_all()

    def _restore_messages(self) -> None:
        consumer = self._worker.consumer.task_consumer
        if consumer is not None:
            consumer.channel.qos.restore_unacked_once()


def _run_within(seconds: float, *calls: Callable[[], None]) -> None:
    """Run all calls at once, and return without those that take longer."""
    threads = [threading.Thread(target=_run_logged, args=(call,), daemon=True) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(seconds)


def _run_logged(call: Callable[[], None]) -> None:
    try:
        call()
    except Exception as error:  # noqa: BLE001 (whatever it is, the reconciler reclaims the checks later)
        log.warning(
            "release_failed", step=getattr(call, "__name__", str(call)), error=f"{type(error).__name__}: {error}"
        )
