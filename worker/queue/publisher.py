"""Submitting checks and publishing their ids to Redis. Publishing is best effort: the reconciler repeats it.

Messages go straight into the lane's list, as `docs/messages.md` tells producers in any language: Celery's own sending
takes several times as long per message, and cannot send many in one round trip.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Self
from uuid import UUID

from redis.exceptions import RedisError

from schema.messages import CHECK_TASK, Submission
from schema.states import Lane
from worker.errors import ErrorCode, TransientError
from worker.log import get_logger
from worker.queue.messages import check_of_message, envelope
from worker.settings import Settings
from worker.store import Receipt, Store

log = get_logger(__name__)

DIRECT_DEPTH = 32
"""Messages in a lane's queue at which a new check waits in the ledger, to be published in its source's turn."""
DEPTH_MAX_AGE = 0.2
"""Seconds that a queue's depth is remembered, so that a flood of submissions does not double the calls to Redis."""
PUBLISH_AFTER = 1.0
"""Seconds after which an accepted check is left to the reconciler, so that a slow server delays no caller any more."""
MARK_WITHIN = 2.0
"""Seconds that Postgres may take to note a message that was sent."""
ANSWER_WITHIN = 10.0
"""Seconds that Redis may take to answer."""


def submit_check(submission: Submission, store: Store, publisher: Publisher) -> Receipt:
    """Write the check to the ledger, then publish it if its lane has room. Once this returns, it cannot be lost.

    Where many messages wait already, the check waits in the ledger for its source's turn; the reconciler publishes it.

    Where the queue was seen a moment ago and has room, the check is written as one whose message was sent, so that the
    ledger need not be told afterwards. A process that ends between the two leaves such a check to the reconciler, as it
    does one whose message was lost (`worker.queue.dispatcher`).

    The same `(source, external_id)` is accepted once; a repeat returns the check that exists. Raises `TransientError`
    (`database_unavailable`) or `PermanentError` (`conflict`), and then nothing was accepted.
    """
    began, lane = time.monotonic(), submission.lane
    sends = publisher.is_known_to_have_room(lane)
    receipt = store.submit(submission, dispatched=sends)
    if receipt.created and sends:
        _send(receipt.check_id, lane, store, publisher)
    elif receipt.created and time.monotonic() - began < PUBLISH_AFTER:
        publish_new([receipt.check_id], lane, store, publisher)
    return receipt


def _send(check_id: UUID, lane: Lane, store: Store, publisher: Publisher) -> None:
    """Publish a check that was written as one whose message was sent; if that fails, the reconciler does it."""
    try:
        publisher.publish([check_id], lane)
    except TransientError as error:
        _log_deferred([check_id], error)
        try:
            store.unmark_dispatched([check_id], within=MARK_WITHIN)
        except TransientError as unmarked:  # the reconciler finds that the message was lost
            log.warning("unmark_failed", check_id=str(check_id), code=str(unmarked.code), error=unmarked.message)


def publish_new(check_ids: Sequence[UUID], lane: Lane, store: Store, publisher: Publisher) -> None:
    """Publish checks that were just accepted, as many as the lane has room for.

    The reconciler publishes the others, and all of them when Redis or Postgres does not answer.
    """
    try:
        some = check_ids[: publisher.room(lane)]
        if some:
            publisher.publish(some, lane)
            store.mark_dispatched(some, within=MARK_WITHIN)
    except TransientError as error:
        # Accepted nevertheless: the reconciler publishes what was not marked as dispatched.
        _log_deferred(check_ids, error)


def _log_deferred(check_ids: Sequence[UUID], error: TransientError) -> None:
    log.warning(
        "publish_deferred", check_id=str(check_ids[0]), checks=len(check_ids), code=str(error.code),
        error=error.message,
    )  # fmt: skip


class Publisher:
    """Sends check messages to Redis; thread-safe. Fails fast when Redis is unavailable."""

    def __init__(
        self, settings: Settings, *, depth_max_age: float = DEPTH_MAX_AGE, answer_within: float = ANSWER_WITHIN
    ) -> None:
        self._depth_max_age = depth_max_age
        self._redis = settings.require_redis().client(timeout=answer_within, health_check_interval=25)
        self._prefix = settings.key_prefix
        self._depths: dict[Lane, tuple[float, int]] = {}
        """When a lane's depth was last seen, and what it was."""

    def publish(self, check_ids: Iterable[UUID], lane: Lane) -> None:
        """Send one message per id to the lane's queue. Raises `TransientError` (`queue_unavailable`)."""
        messages = [envelope(CHECK_TASK, lane, [str(check_id)]) for check_id in check_ids]
        if not messages:
            return
        try:
            depth = int(self._redis.lpush(self._key(lane), *messages))
        except (RedisError, OSError) as error:
            raise TransientError(ErrorCode.QUEUE_UNAVAILABLE, f"Redis did not take the message: {error}") from error
        self._depths[lane] = time.monotonic(), depth

    def room(self, lane: Lane) -> int:
        """How many new checks the lane's queue takes before those that wait in the ledger; 0 when it is long enough.

        An estimate: other processes publish too, and a depth is remembered for 0.2 s. Raises as `depth` does.
        """
        depth = self._depth_seen(lane)
        if depth is None:
            depth = self.depth(lane)
            self._depths[lane] = time.monotonic(), depth
        return max(0, DIRECT_DEPTH - depth)

    def is_known_to_have_room(self, lane: Lane) -> bool:
        """Whether `room` is above 0, where that is remembered; False where Redis would have to be asked."""
        depth = self._depth_seen(lane)
        return depth is not None and depth < DIRECT_DEPTH

    def _depth_seen(self, lane: Lane) -> int | None:
        """The queue's depth when it was last seen; None when that was too long ago."""
        seen_at, depth = self._depths.get(lane, (float("-inf"), 0))
        return None if time.monotonic() - seen_at > self._depth_max_age else depth

    def depth(self, lane: Lane) -> int:
        """How many messages wait in the lane's queue. Raises `TransientError` (`queue_unavailable`)."""
        try:
            return int(self._redis.llen(self._key(lane)))
        except (RedisError, OSError) as error:
            raise TransientError(ErrorCode.QUEUE_UNAVAILABLE, f"Redis did not answer: {error}") from error

    def next_check(self, lane: Lane) -> UUID | None:
        """The check of the message that is taken next from the lane's queue; None where that is no such message.

        Raises `TransientError` (`queue_unavailable`).
        """
        try:
            item = self._redis.lindex(self._key(lane), -1)
        except (RedisError, OSError) as error:
            raise TransientError(ErrorCode.QUEUE_UNAVAILABLE, f"Redis did not answer: {error}") from error
        return None if item is None else check_of_message(item)

    def close(self) -> None:
        self._redis.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def _key(self, lane: Lane) -> str:
        return f"{self._prefix}{lane}"
