"""Putting check ids into Redis, and what happens when it is not there."""

from __future__ import annotations

import time
from collections.abc import Iterator
from uuid import uuid4

import pytest
import redis

from schema.states import Lane
from tests.support.databases import Sql
from tests.support.ledger import submission
from worker.errors import ErrorCode, TransientError
from worker.queue.dispatcher import LaneDispatcher
from worker.queue.publisher import DIRECT_DEPTH, Publisher, submit_check
from worker.settings import Settings
from worker.store import Store


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


@pytest.fixture
def remembering(settings: Settings) -> Iterator[Publisher]:
    """A publisher that has seen an empty live queue, and remembers it for as long as the test takes."""
    with Publisher(settings, depth_max_age=60.0) as publisher:
        assert publisher.room(Lane.LIVE) == DIRECT_DEPTH
        yield publisher


WAITING = "SELECT count(*) FROM susy.checks WHERE state = 'queued' AND dispatched_at IS NULL"


def test_while_the_queue_is_known_to_have_room_a_check_is_written_once(
    store: Store, remembering: Publisher, run: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes: list[object] = []
    monkeypatch.setattr(store, "mark_dispatched", lambda *given, **_: changes.append(given))
    for _ in range(DIRECT_DEPTH + 3):
        submit_check(submission(), store, remembering)
    assert not changes
    assert remembering.depth(Lane.LIVE) == DIRECT_DEPTH
    assert run(WAITING) == [(3,)], "what found no room waits in the ledger for its source's turn"


def test_a_message_that_redis_did_not_take_is_not_noted_as_sent(
    store: Store, remembering: Publisher, run: Sql, redis_url: str
) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.config_set("maxmemory", "1")  # refuses what is added; still answers
        try:
            receipt = submit_check(submission(), store, remembering)
        finally:
            client.config_set("maxmemory", "0")
    assert receipt.created
    assert run(WAITING) == [(1,)]
    LaneDispatcher(Lane.LIVE).refill(store, remembering)
    assert remembering.next_check(Lane.LIVE) == receipt.check_id, "the reconciler publishes it at once"


def test_a_message_that_redis_did_not_take_is_found_lost_when_the_ledger_cannot_be_told(
    store: Store, remembering: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    unavailable = TransientError(ErrorCode.DATABASE_UNAVAILABLE, "away")

    def refuse(*_: object, **__: object) -> None:
        raise unavailable

    with monkeypatch.context() as away:
        away.setattr(remembering, "publish", refuse)
        away.setattr(store, "unmark_dispatched", refuse)
        receipt = submit_check(submission(), store, remembering)
    assert store.show(receipt.check_id).dispatched_at is not None
    time.sleep(0.1)
    LaneDispatcher(Lane.LIVE, lost_after=0.05).refill(store, remembering)
    assert remembering.next_check(Lane.LIVE) == receipt.check_id


def test_a_repeated_submission_is_not_sent_again(store: Store, remembering: Publisher) -> None:
    for _ in range(2):
        submit_check(submission(external_id="one"), store, remembering)
    assert remembering.depth(Lane.LIVE) == 1
