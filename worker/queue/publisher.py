"""Putting check ids into Redis. Best effort: what is not published now, the reconciler publishes later.

Straight into the lane's list, as docs/messages.md tells producers in any language: Celery's own way takes several times
as long for each message, and could not send many in one round trip.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterable
from typing import Self
from uuid import UUID, uuid4

from redis.exceptions import RedisError

from schema.messages import CHECK_TASK
from schema.states import Lane
from worker.errors import ErrorCode, TransientError
from worker.settings import Settings

DIRECT_DEPTH = 32
"""Messages in a lane's queue from which on a new check waits in the ledger, to be published in its source's turn."""
LOOK_EVERY = 0.2
"""Seconds that a look at a queue's depth is good for: a flood of submissions does not double the calls to Redis."""


class Publisher:
    """Sends check messages; thread-safe. Fails fast when Redis is away."""

    def __init__(self, settings: Settings) -> None:
        self._redis = settings.require_redis().client(timeout=10, health_check_interval=25)
        self._prefix = settings.key_prefix
        self._looks: dict[Lane, tuple[float, int]] = {}
        """When a lane's queue was last seen, and how many messages were in it."""

    def publish(self, check_ids: Iterable[UUID], lane: Lane) -> None:
        """Send one message an id to the lane's queue. Raises `TransientError` (`queue_unavailable`)."""
        messages = [_message(check_id, lane) for check_id in check_ids]
        if not messages:
            return
        try:
            depth = int(self._redis.lpush(self._key(lane), *messages))
        except (RedisError, OSError) as error:
            raise TransientError(ErrorCode.QUEUE_UNAVAILABLE, f"Redis did not take the message: {error}") from error
        self._looks[lane] = time.monotonic(), depth

    def has_room(self, lane: Lane) -> bool:
        """Whether the lane's queue is short enough to publish past those that wait in the ledger.

        About: other processes publish too, and a look is good for `LOOK_EVERY` seconds. Raises as `depth` does.
        """
        looked_at, depth = self._looks.get(lane, (float("-inf"), 0))
        if time.monotonic() - looked_at > LOOK_EVERY:
            depth = self.depth(lane)
            self._looks[lane] = time.monotonic(), depth
        return depth < DIRECT_DEPTH

    def depth(self, lane: Lane) -> int:
        """How many messages wait in the lane's queue. Raises `TransientError` (`queue_unavailable`)."""
        try:
            return int(self._redis.llen(self._key(lane)))
        except (RedisError, OSError) as error:
            raise TransientError(ErrorCode.QUEUE_UNAVAILABLE, f"Redis did not answer: {error}") from error

    def close(self) -> None:
        self._redis.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def _key(self, lane: Lane) -> str:
        return f"{self._prefix}{lane}"


def _message(check_id: UUID, lane: Lane) -> str:
    body = json.dumps([[str(check_id)], {}, {}])
    return json.dumps(
        {
            "body": base64.b64encode(body.encode()).decode(),
            "content-type": "application/json",
            "content-encoding": "utf-8",
            "headers": {"task": CHECK_TASK, "id": str(uuid4())},
            "properties": {
                "delivery_tag": str(uuid4()),
                "delivery_info": {"exchange": "", "routing_key": str(lane)},
                "body_encoding": "base64",
            },
        }
    )
