"""Waiting for a service that is away instead of giving up what was begun."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from worker.errors import Transient
from worker.log import get_logger

log = get_logger(__name__)

Answer = TypeVar("Answer")
FIRST_WAIT, LONGEST_WAIT = 0.5, 15.0


def until_available(call: Callable[[], Answer]) -> Answer:
    """`call`, again and again while Postgres is away; the pause doubles from 0.5 to 15 s.

    Calls that the ledger guards with a lease token are safe to repeat: if another worker took the check
    over in the meantime, they change nothing. One line is logged when the service goes, one when it is back.
    """
    wait = FIRST_WAIT
    away = False
    while True:
        try:
            answer = call()
        except Transient as error:
            if not away:
                log.warning("service_away", code=str(error.code), error=error.message)
            away = True
            time.sleep(wait)
            wait = min(2 * wait, LONGEST_WAIT)
        else:
            if away:
                log.info("service_back")
            return answer
