"""Feeding a lane's queue in Redis from the ledger: as much as the workers take soon, sources in turn.

What is in Redis is served in its order, whoever it belongs to. So little of it is there at any time, and which checks
come next is decided late, in the ledger (`docs/decisions/0007-fairness.md`).
"""

from __future__ import annotations

import time

from schema.states import Lane
from worker.log import get_logger
from worker.queue.publisher import Publisher
from worker.store import Store

log = get_logger(__name__)

LEAST_DEPTH = 64
"""Messages that a lane's queue is filled up to when workers are slow. Above `publisher.DIRECT_DEPTH`, so that
checks which wait in the ledger get a share however fast others are submitted."""
MOST_DEPTH = 2048
"""The same when workers are fast; this bounds Redis' memory."""
STEP = 500
"""Most checks changed or published in one transaction."""
LOST_AFTER = 30.0
"""Seconds that a message may be in a worker's hands before its check is claimed. Sent before the queue was last seen
empty, and that is longer ago: it was popped by a worker that died, or went with a flush. A check that was
not lost costs one empty claim."""
LOST_AT_LATEST = 3600.0
"""Seconds after which a message counts as lost whatever was seen."""


class LaneDispatcher:
    """Keeps one lane's queue filled. The leading reconciler holds one for each lane."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._depth = LEAST_DEPTH
        self._was_filled = False
        self._emptied_at: float | None = None

    def refill(self, store: Store, publisher: Publisher) -> None:
        """Look at the queue, forget lost messages, and publish what there is room for."""
        found = publisher.depth(self._lane)
        self._forget_lost(found, store)
        self._adapt(found)
        missing = self._depth - found
        while missing > 0:
            due = store.take_due(self._lane, limit=min(STEP, missing))
            if not due:
                break
            publisher.publish(due, self._lane)
            log.debug("checks_published", lane=str(self._lane), count=len(due))
            missing -= len(due)
        self._was_filled = missing <= 0

    def _adapt(self, found: int) -> None:
        """Keep about as much in Redis as the workers take between two looks, times two."""
        if self._was_filled and found < self._depth / 2:
            self._depth = min(2 * self._depth, MOST_DEPTH)
        elif found > self._depth * 3 / 4:
            self._depth = max(self._depth // 2, LEAST_DEPTH)

    def _forget_lost(self, found: int, store: Store) -> None:
        now = time.monotonic()
        emptied_ago = 0.0 if self._emptied_at is None else now - self._emptied_at
        was_empty = emptied_ago if emptied_ago >= LOST_AFTER else LOST_AT_LATEST
        age = LOST_AFTER if found == 0 else was_empty
        lost = store.forget_dispatched(self._lane, age=age, limit=STEP)
        if lost:
            log.warning("messages_lost", lane=str(self._lane), count=lost)
        if lost < STEP and emptied_ago >= LOST_AFTER:
            self._emptied_at = None
        if found == 0 and self._emptied_at is None:
            self._emptied_at = now
