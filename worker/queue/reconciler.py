"""The reconciler: publishes what is due, ends what is too late, and reclaims what a lost worker, message or Redis left.

Any number may run; the one that holds an advisory lock of Postgres leads. Each step is bounded, so that a backlog of a
million refills Redis little by little.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from schema.states import Lane
from worker.errors import ErrorCode, SusyError, TransientError
from worker.log import get_logger
from worker.queue.dispatcher import BATCH, LaneDispatcher
from worker.queue.publisher import Publisher
from worker.queue.retry import Outage
from worker.settings import Settings
from worker.store import Store
from worker.store.migrate import require_current

log = get_logger(__name__)

DISPATCH_EVERY = 0.5
"""Seconds between two refills of the lanes' queues: a fast worker must not run out of messages between them."""


EXPIRE_BATCHES = 20
"""Batches of checks past their deadline that one round ends, at most, so that what is due is published meanwhile."""
FOLDED_PER_ROUND = 100_000
"""Decisions that one round adds to the counts per day, at most."""


def wait_for_ledger(settings: Settings, stopped: threading.Event) -> None:
    """Return when the ledger has the schema of this version, or when `stopped`; wait while Postgres is unavailable.

    Raises `SetupError` for a database that waiting does not make usable: without a ledger, of another version, or of
    another encoding than UTF-8.
    """
    outage = Outage()
    while not stopped.is_set():
        try:
            require_current(settings.require_database_url())
        except TransientError as error:
            outage.began(error)
            stopped.wait(settings.reconcile_interval)
        else:
            outage.ended()
            return


def reconcile_forever(store: Store, publisher: Publisher, settings: Settings, stopped: threading.Event) -> None:
    """Lead while no other reconciler does, until `stopped`.

    The leader refills the lanes' queues all the time, and reclaims expired leases every `SUSY_RECONCILE_INTERVAL`.
    Whatever fails is tried again: without a reconciler, what is accepted is not processed.
    """
    dispatchers = [LaneDispatcher(lane) for lane in Lane]
    outage = Outage()
    while not stopped.is_set():
        leading = False
        try:
            with store.lead() as leading:
                if leading:
                    reconcile(store, publisher, settings, dispatchers)
                    outage.ended()
                    _dispatch(dispatchers, store, publisher, settings, stopped)
        except Exception as error:  # noqa: BLE001 (reported as an outage that waiting may end)
            leading = False
            outage.began(_as_outage(error))
        if not leading:
            stopped.wait(settings.reconcile_interval)


def _as_outage(error: Exception) -> SusyError:
    if isinstance(error, SusyError):
        return error
    log.debug("unexpected_failure", exc_info=error)
    return TransientError(ErrorCode.UNEXPECTED, f"{type(error).__name__}: {error}")


def reconcile(
    store: Store, publisher: Publisher, settings: Settings, dispatchers: Sequence[LaneDispatcher] | None = None
) -> None:
    """One round: reclaim checks of lost workers, end those past their deadline, publish what is due, number events and
    fold counts.

    Publishing comes before what may fail without harm to a check.
    """
    reclaimed = store.reclaim_expired(max_attempts=settings.max_attempts, limit=BATCH)
    if reclaimed.requeued or reclaimed.quarantined:
        log.warning("leases_expired", requeued=reclaimed.requeued, quarantined=reclaimed.quarantined)
    expired = _expire(store)
    if expired:
        log.info("checks_expired", count=expired)
    for dispatcher in dispatchers or [LaneDispatcher(lane) for lane in Lane]:
        dispatcher.refill(store, publisher)
    store.number_events()
    store.fold_decisions(limit=FOLDED_PER_ROUND)
    store.hooks.forget_sequencers()


def _expire(store: Store) -> int:
    """End checks whose deadline has passed, a batch per transaction; how many."""
    total = 0
    for _ in range(EXPIRE_BATCHES):
        expired = store.expire(limit=BATCH)
        total += expired
        if expired < BATCH:
            break
    return total


def _dispatch(
    dispatchers: Sequence[LaneDispatcher],
    store: Store,
    publisher: Publisher,
    settings: Settings,
    stopped: threading.Event,
) -> None:
    """Refill the queues until the next round is due."""
    until = time.monotonic() + settings.reconcile_interval
    while (left := until - time.monotonic()) > 0:
        if stopped.wait(min(DISPATCH_EVERY, left)):
            return
        for dispatcher in dispatchers:
            dispatcher.refill(store, publisher)
