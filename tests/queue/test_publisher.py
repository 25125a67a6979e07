"""Putting check ids into Redis, and what happens when it is not there."""

from __future__ import annotations

import time
from uuid import uuid4

import pytest
import redis

from schema.states import Lane
from worker.errors import ErrorCode, TransientError
from worker.queue.publisher import Publisher
from worker.settings import Settings


def test_messages_lie_in_their_lane_in_the_order_given(settings: Settings, redis_url: str) -> None:
    with Publisher(settings) as publisher, redis.Redis.from_url(redis_url) as client:
        publisher.publish([], Lane.LIVE)
        publisher.publish([uuid4() for _ in range(3)], Lane.LIVE)
        publisher.publish([uuid4()], Lane.BACKFILL)
        assert (publisher.depth(Lane.LIVE), publisher.depth(Lane.BACKFILL)) == (3, 1)
        assert client.llen(f"{settings.key_prefix}live") == 3


def test_connections_that_broke_meanwhile_are_replaced_unnoticed(settings: Settings, redis_url: str) -> None:
    with Publisher(settings) as publisher, redis.Redis.from_url(redis_url) as client:
        publisher.publish([uuid4()], Lane.LIVE)
        client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        publisher.publish([uuid4()], Lane.LIVE)
        client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        assert publisher.depth(Lane.LIVE) == 2


def test_with_redis_away_it_fails_fast_and_names_no_password(settings: Settings) -> None:
    away = settings.model_copy(update={"redis_url": "redis://:hunter2@127.0.0.1:1/0"})
    started = time.monotonic()
    with Publisher(away) as publisher:
        for call in (publisher.depth, publisher.room, lambda lane: publisher.publish([uuid4()], lane)):
            with pytest.raises(TransientError) as caught:
                call(Lane.LIVE)
            assert caught.value.code is ErrorCode.QUEUE_UNAVAILABLE
            assert "hunter2" not in caught.value.message
    assert time.monotonic() - started < 10
