"""Filling a lane's queue in Redis from the ledger: as much as the workers take soon, sources in turn.

Messages in Redis are served in their order, whatever their source. Therefore Redis holds few at any time, and the
ledger decides late which checks come next (`docs/decisions/0007-fairness.md`).
"""

from __future__ import annotations

import time

from schema.states import Lane
from worker.log import get_logger
from worker.queue.publisher import Publisher
from worker.store import Store

log = get_logger(__name__)

MIN_DEPTH = 64
"""Messages that a lane's queue is filled to when workers are slow. Above `publisher.DIRECT_DEPTH`, so that checks that
wait in the ledger get a share however fast others are submitted."""
MAX_DEPTH = 2048
"""The same when workers are fast; it bounds the memory of Redis."""
BATCH = 500
"""Checks changed or published per transaction, at most."""
LOST_AFTER = 30.0
"""Seconds that a message may be in a worker's hands before its check is claimed. Whatever was taken from the queue
longer ago is lost: a worker that died had taken it, or Redis was flushed. Should it not be lost, it costs one claim
that finds nothing."""
LOST_AT_LATEST = 3600.0
"""Seconds after which a message counts as lost even if nothing was seen of the queue."""
PUBLISHED_WITHIN = 5.0
"""Seconds by which the order of messages in the queue may differ from that in which the ledger notes them as sent."""

PAUSED_AFTER = 1.0
"""Seconds after its publication at which a message of a paused lane counts as dropped."""


class LaneDispatcher:
    """Keeps one lane's queue filled. The leading reconciler has one per lane."""

    def __init__(
        self, lane: Lane, *, min_depth: int = MIN_DEPTH, batch: int = BATCH, lost_after: float = LOST_AFTER
    ) -> None:
        self._lane = lane
        self._min_depth = min_depth
        self._batch = batch
        self._lost_after = lost_after
        self._depth = min_depth
        self._was_filled = False
        self._looked_at: float | None = None
        self._taken_before = 0.0
        """All messages sent before this time had been taken from the queue when it was looked at."""

    def refill(self, store: Store, publisher: Publisher) -> None:
        """Read the queue's depth, let lost messages be published again, and publish what there is room for.

        Of a paused lane nothing is published. Workers drop the messages that are in its queue, so their checks are
        returned to the ledger, to be published when the lane is resumed.
        """
        if store.paused_at(self._lane):
            store.forget_dispatched(self._lane, age=PAUSED_AFTER, limit=self._batch)
            self._was_filled, self._looked_at = False, None
            return
        found = publisher.depth(self._lane)
        self._forget_lost(found, store, publisher)
        self._adapt(found)
        missing = self._depth - found
        while missing > 0:
            due = store.take_due(self._lane, limit=min(self._batch, missing))
            if not due:
                break
            publisher.publish(due, self._lane)
            log.debug("checks_published", lane=str(self._lane), count=len(due))
            missing -= len(due)
        self._was_filled = missing <= 0

    def _adapt(self, found: int) -> None:
        """Keep about twice as much in Redis as the workers take between two calls."""
        if self._was_filled and found < self._depth / 2:
            self._depth = min(2 * self._depth, MAX_DEPTH)
        elif found > self._depth * 3 / 4:
            self._depth = max(self._depth // 2, self._min_depth)

    def _forget_lost(self, found: int, store: Store, publisher: Publisher) -> None:
        """Return to the ledger the checks whose messages were taken `lost_after` ago and that nobody has claimed."""
        now = time.monotonic()
        looked_ago = 0.0 if self._looked_at is None else now - self._looked_at
        if found == 0:
            age = self._lost_after
        elif looked_ago >= self._lost_after:
            age = now - self._taken_before
        else:
            age = LOST_AT_LATEST
        lost = store.forget_dispatched(self._lane, age=age, limit=self._batch)
        if lost:
            log.warning("messages_lost", lane=str(self._lane), count=lost)
        if lost < self._batch and looked_ago >= self._lost_after:
            self._looked_at = None
        if self._looked_at is None:
            self._look(found, store, publisher)

    def _look(self, found: int, store: Store, publisher: Publisher) -> None:
        """Note up to which time messages have been taken: all of an empty queue, else those before the next one.

        Messages are taken in the order in which they were sent, so that this is known of a queue that is never empty.
        """
        sent_ago = 0.0
        if found:
            check_id = publisher.next_check(self._lane)
            ago = None if check_id is None else store.dispatched_ago(check_id)
            if ago is None:  # not a check's message, or that of a check that ended: look again at the next refill
                return
            sent_ago = ago + PUBLISHED_WITHIN
        self._looked_at = time.monotonic()
        self._taken_before = self._looked_at - sent_ago
