"""The reconciler: makes the ledger come true when Redis, a worker or a message was lost, and dispatchers the lanes.

Any number may run; the one that holds an advisory lock of Postgres leads. Every step is bounded, so that
a backlog of a million refills Redis little by little.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from schema.states import Lane
from worker.errors import SusyError
from worker.log import get_logger
from worker.queue.dispatcher import STEP, LaneDispatcher
from worker.queue.publisher import Publisher
from worker.settings import Settings
from worker.store import Store

log = get_logger(__name__)

DISPATCH_EVERY = 0.5
"""Seconds between two looks at the lanes' queues: a fast worker must not run dry between them."""


def reconcile_forever(store: Store, publisher: Publisher, settings: Settings, stopped: threading.Event) -> None:
    """Lead when nobody else does, until `stopped`: dispatch to the lanes, and free what dead workers hold every
    `SUSY_RECONCILE_EVERY` seconds.
    """
    dispatchers = [LaneDispatcher(lane) for lane in Lane]
    away = False
    while not stopped.is_set():
        leading = False
        try:
            with store.lead() as leading:
                if leading:
                    reconcile(store, publisher, settings, dispatchers)
                    if away:
                        log.info("service_back")
                        away = False
                    _dispatch(dispatchers, store, publisher, settings, stopped)
        except SusyError as error:
            leading = False
            if not away:
                log.warning("service_away", code=str(error.code), error=error.message)
                away = True
        if not leading:
            stopped.wait(settings.reconcile_every)


def reconcile(
    store: Store, publisher: Publisher, settings: Settings, dispatchers: Sequence[LaneDispatcher] | None = None
) -> None:
    """One round: free what a dead worker holds, then publish what is due and not on its way."""
    freed = store.reclaim_expired(max_attempts=settings.max_attempts, limit=STEP)
    if freed.requeued or freed.quarantined:
        log.warning("leases_expired", requeued=freed.requeued, quarantined=freed.quarantined)
    for dispatcher in dispatchers or [LaneDispatcher(lane) for lane in Lane]:
        dispatcher.refill(store, publisher)


def _dispatch(
    dispatchers: Sequence[LaneDispatcher],
    store: Store,
    publisher: Publisher,
    settings: Settings,
    stopped: threading.Event,
) -> None:
    """Keep dispatching until the next round is due."""
    until = time.monotonic() + settings.reconcile_every
    while (left := until - time.monotonic()) > 0:
        if stopped.wait(min(DISPATCH_EVERY, left)):
            return
        for dispatcher in dispatchers:
            dispatcher.refill(store, publisher)
