"""Putting check ids into Redis. Best effort: what is not published now, the reconciler publishes later."""

from __future__ import annotations

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


class Publisher:
    """Sends check messages; thread-safe. Fails fast when Redis is away."""

    def __init__(self, settings: Settings) -> None:
        self._app = make_app(settings)

    def publish(self, check_ids: Iterable[UUID], lane: Lane) -> None:
        """Send one message an id to the lane's queue. Raises `Transient` (`queue_unavailable`)."""
        try:
            with self._app.producer_pool.acquire(block=True) as producer:
                for check_id in check_ids:
                    self._app.send_task(
                        CHECK_TASK, args=[str(check_id)], queue=str(lane), producer=producer, retry=False
                    )
        except (OperationalError, RedisError, OSError) as error:
            raise Transient(ErrorCode.QUEUE_UNAVAILABLE, f"Redis did not take the message: {error}") from error

    def depth(self, lane: Lane) -> int:
        """How many messages wait in the lane's queue. Raises `Transient` (`queue_unavailable`)."""
        try:
            with self._app.connection_for_write() as connection, connection.channel() as channel:
                return int(channel._size(str(lane)))
        except (OperationalError, RedisError, OSError) as error:
            raise Transient(ErrorCode.QUEUE_UNAVAILABLE, f"Redis did not answer: {error}") from error

    def close(self) -> None:
        self._app.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()
