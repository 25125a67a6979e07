"""Waiting for a service that is away instead of giving up what was begun."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from worker.errors import TransientError
from worker.log import get_logger

log = get_logger(__name__)

Answer = TypeVar("Answer")
FIRST_WAIT, LONGEST_WAIT = 0.5, 15.0


class _Announcer:
    """Logs one line when the ledger goes and one when it is back, however many threads notice."""

    def __init__(self) -> None:
        self._away = False
        self._lock = threading.Lock()

    def away(self, error: TransientError) -> None:
        with self._lock:
            if not self._away:
                log.warning("service_away", code=str(error.code), error=error.message)
            self._away = True

    def back(self) -> None:
        with self._lock:
            if self._away:
                log.info("service_back")
            self._away = False


_announcer = _Announcer()


class OncePerOutage(logging.Filter):
    """Lets one of Celery's lines about a broker that cannot be reached through, until it is reached again."""

    def __init__(self) -> None:
        super().__init__()
        self._said = False

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        if message.startswith("Connected to"):
            self._said = False
        elif "Cannot connect to" in message:
            repeated, self._said = self._said, True
            return not repeated
        return True


def retry_while_unavailable(call: Callable[[], Answer]) -> Answer:
    """`call`, again and again while Postgres is away; the pause doubles from 0.5 to 15 s.

    Calls that the ledger guards with a lease token are safe to repeat: if another worker took the check
    over in the meantime, they change nothing. A process that is told to stop meanwhile ends all the same,
    when its grace time is over (`worker.queue.shutdown`).
    """
    wait = FIRST_WAIT
    while True:
        try:
            answer = call()
        except TransientError as error:
            _announcer.away(error)
            time.sleep(wait)
            wait = min(2 * wait, LONGEST_WAIT)
        else:
            if wait > FIRST_WAIT:
                _announcer.back()
            return answer
