"""How a worker ends: in order, within its grace time, and never with half a verdict.

Celery's own way waits for running tasks without a bound under the threads pool, and its cold shutdown cannot end a
thread. So the signals are ours: SIGTERM, or SIGINT once, lets Celery stop taking and finish what runs; when the grace
time is over, or at once for SIGQUIT and a second SIGINT, what is held goes back to the ledger and to Redis, and the
process ends. A verdict is one transaction under a lease: given back first, it can no longer be written.
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

GIVING_BACK = 8.0
"""Seconds that giving back may take; a service that is away must not keep the process alive."""
HURRIED_EXIT_CODE = 1


class GracefulShutdown(bootsteps.StartStopStep):  # type: ignore[misc]
    """A step of the worker's start, later than Celery's installing of its own signal handlers."""

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        self._worker = parent
        self._grace = 0.0
        self._asked = threading.Event()
        self._hurried = threading.Event()

    def start(self, parent: Any) -> None:
        settings: Settings = current.get().settings
        self._grace = settings.grace
        threading.Thread(target=self._watch, name="ending", daemon=True).start()
        signal.signal(signal.SIGTERM, lambda *_: self._ask())
        signal.signal(signal.SIGINT, lambda *_: self._hurry() if self._asked.is_set() else self._ask())
        signal.signal(signal.SIGQUIT, lambda *_: self._hurry())

    def stop(self, parent: Any) -> None:
        """Nothing: the watch is needed until the process has ended."""

    def _ask(self) -> None:
        state.should_stop = 0  # Celery's event loop looks at it, and begins its warm shutdown
        self._asked.set()

    def _hurry(self) -> None:
        self._hurried.set()
        self._ask()

    def _watch(self) -> None:
        self._asked.wait()
        log.info("worker_stopping", grace=self._grace)
        self._hurried.wait(self._grace)
        hurried = self._hurried.is_set()
        log.warning("worker_ends_at_once", reason="told to" if hurried else "the grace time is over")
        _within(GIVING_BACK, self._give_claims_back, self._give_messages_back)
        os._exit(HURRIED_EXIT_CODE if hurried else 0)

    def _give_claims_back(self) -> None:
        current.get().heartbeat.release_all()

    def _give_messages_back(self) -> None:
        consumer = self._worker.consumer.task_consumer
        if consumer is not None:
            consumer.channel.qos.restore_unacked_once()


def _within(seconds: float, *calls: Callable[[], None]) -> None:
    """Run all at once, and leave those behind that take longer."""
    threads = [threading.Thread(target=_loudly, args=(call,), daemon=True) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(seconds)


def _loudly(call: Callable[[], None]) -> None:
    try:
        call()
    except Exception as error:  # noqa: BLE001 (whatever it is, the reconciler gives it back later)
        log.warning(
            "not_given_back", what=getattr(call, "__name__", str(call)), error=f"{type(error).__name__}: {error}"
        )
