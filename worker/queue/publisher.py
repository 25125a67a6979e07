"""Putting check ids into Redis. Best effort: what is not published now, the reconciler publishes later."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Self
from uuid import UUID

from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from schema.messages import CHECK_TASK
from schema.states import Lane
from worker.errors import ErrorCode, Transient
from worker.queue.celery_app import make_app
from worker.settings import Settings

DIRECT_DEPTH = 32
"""Messages in a lane's queue from which on a new check waits in the ledger, to be published in its source's turn."""
LOOK_EVERY = 0.2
"""Seconds that a look at a queue's depth is good for: a flood of submissions does not double the calls to Redis."""


class Publisher:
    """Sends check messages; thread-safe. Fails fast when Redis is away."""

    def __init__(self, settings: Settings) -> None:
        self._app = make_app(settings)
        self._looks: dict[Lane, tuple[float, int]] = {}
        """When a lane's queue was last looked at, and how many messages are in it if none was taken since."""

    def publish(self, check_ids: Iterable[UUID], lane: Lane) -> None:
        """Send one message an id to the lane's queue. Raises `Transient` (`queue_unavailable`)."""
        try:
            with self._app.producer_pool.acquire(block=True) as producer:
                for check_id in check_ids:
                    self._app.send_task(
                        CHECK_TASK, args=[str(check_id)], queue=str(lane), producer=producer, retry=False
                    )
                    if lane in self._looks:
                        looked_at, depth = self._looks[lane]
                        self._looks[lane] = looked_at, depth + 1
        except (OperationalError, RedisError, OSError) as error:
            raise Transient(ErrorCode.QUEUE_UNAVAILABLE, f"Redis did not take the message: {error}") from error

    def has_room(self, lane: Lane) -> bool:
        """Whether the lane's queue is short enough to publish past those that wait in the ledger.

        About: other processes publish too, and a look is good for `LOOK_EVERY` seconds. Raises as `depth` does.
        """
        looked_at, depth = self._looks.get(lane, (0.0, 0))
        if time.monotonic() - looked_at > LOOK_EVERY:
            depth = self.depth(lane)
            self._looks[lane] = time.monotonic(), depth
        return depth < DIRECT_DEPTH

    def depth(self, lane: Lane) -> int:
        """How many messages wait in the lane's queue. Raises `Transient` (`queue_unavailable`)."""
        try:
            with self._app.producer_pool.acquire(block=True) as producer:
                return int(producer.channel._size(str(lane)))
        except (OperationalError, RedisError, OSError) as error:
            raise Transient(ErrorCode.QUEUE_UNAVAILABLE, f"Redis did not answer: {error}") from error

    def close(self) -> None:
        self._app.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()
