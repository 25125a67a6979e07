"""The reconciler: makes the ledger come true when Redis, a worker or a message was lost.

Any number may run; the one that holds an advisory lock of Postgres leads. Every step is bounded, so that
a backlog of a million refills Redis little by little.
"""

from __future__ import annotations

import threading

from schema.states import Lane
from worker.errors import SusyError
from worker.log import get_logger
from worker.queue.publisher import Publisher
from worker.settings import Settings
from worker.store import Store

log = get_logger(__name__)

STEP = 500
"""Most checks changed or published in one transaction."""
QUEUE_DEPTH = 2000
"""Messages that wait in Redis for a lane; the rest waits in Postgres."""
LOST_AFTER = 30.0
"""Seconds after which a dispatched check is sent again, once its lane's queue is empty: its message was
popped by a worker that died, or went with a flush. A check that was not lost costs one empty claim."""
LOST_AT_LATEST = 3600.0
"""The same for a lane that never runs empty, where a message may simply still be waiting."""


def reconcile_forever(store: Store, publisher: Publisher, settings: Settings, stopped: threading.Event) -> None:
    """Lead when nobody else does, and reconcile every `SUSY_RECONCILE_EVERY` seconds until `stopped`."""
    away = False
    while not stopped.is_set():
        try:
            with store.lead() as leading:
                if leading:
                    reconcile(store, publisher, settings)
            if away:
                log.info("service_back")
                away = False
        except SusyError as error:
            if not away:
                log.warning("service_away", code=str(error.code), error=error.message)
                away = True
        stopped.wait(settings.reconcile_every)


def reconcile(store: Store, publisher: Publisher, settings: Settings) -> None:
    """One round: free what a dead worker holds, then publish what is due and not on its way."""
    freed = store.free_expired(max_attempts=settings.max_attempts, limit=STEP)
    if freed.requeued or freed.quarantined:
        log.warning("leases_expired", requeued=freed.requeued, quarantined=freed.quarantined)
    for lane in Lane:
        _refill(lane, store, publisher)


def _refill(lane: Lane, store: Store, publisher: Publisher) -> None:
    depth = publisher.depth(lane)
    republish_after = LOST_AFTER if depth == 0 else LOST_AT_LATEST
    for start in range(depth, QUEUE_DEPTH, STEP):
        due = store.take_due(lane, limit=min(STEP, QUEUE_DEPTH - start), republish_after=republish_after)
        if not due:
            return
        publisher.publish(due, lane)
        log.info("checks_published", lane=str(lane), count=len(due))
