"""What Redis knows of the messages that a worker holds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from kombu import Connection
from redis import Redis

from schema.messages import CHECK_TASK, SUBMIT_QUEUE, SUBMIT_TASK
from schema.states import Lane
from worker.queue.celery_app import make_app
from worker.queue.consumer import QUEUES
from worker.queue.messages import check_of_message, envelope, normalize_messages
from worker.settings import Settings


class Worker:
    """The part of a worker that takes messages and acknowledges them."""

    def __init__(self, connection: Connection, settings: Settings, prefetch: int) -> None:
        app = make_app(settings)
        self.held: list[Any] = []
        self._connection = connection
        self.channel = connection.default_channel
        normalize_messages(self.channel.client, settings.key_prefix, QUEUES)
        consumer = app.amqp.TaskConsumer(self.channel, on_message=self.held.append)
        consumer.qos(prefetch_count=prefetch)
        consumer.consume()

    def take(self) -> None:
        """Take messages until none waits, or the worker holds as many as it may."""
        while self.channel.qos.can_consume():
            try:
                self._connection.drain_events(timeout=0.2)
            except TimeoutError:
                return


@pytest.fixture
def worker(settings: Settings) -> Iterator[Worker]:
    with make_app(settings).connection_for_read() as connection:
        yield Worker(connection, settings, prefetch=2)


@pytest.fixture
def client(redis_url: str) -> Iterator[Redis]:
    with Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def key(settings: Settings) -> Any:
    return lambda name: f"{settings.key_prefix}{name}"


def hint(lane: Lane = Lane.LIVE) -> str:
    return envelope(CHECK_TASK, lane, [str(uuid4())])


def test_redis_keeps_no_hint_and_every_submission_until_it_is_acknowledged(
    worker: Worker, client: Redis, key: Any
) -> None:
    client.lpush(key("live"), hint())
    client.lpush(key("submit"), envelope(SUBMIT_TASK, SUBMIT_QUEUE, kwargs={"source": "s"}))
    worker.take()
    held = {message.headers["task"]: message for message in worker.held}
    assert held.keys() == {CHECK_TASK, SUBMIT_TASK}
    assert list(client.hkeys(key("unacked"))) == [held[SUBMIT_TASK].delivery_tag.encode()]
    assert client.zcard(key("unacked_index")) == 1
    for message in worker.held:
        message.ack()
    assert not client.exists(key("live"), key("submit"), key("unacked"), key("unacked_index"))


@pytest.mark.parametrize("argument", ["not an id", 7, None])
def test_a_check_without_an_id_is_kept_until_it_is_stored_as_rejected(
    worker: Worker, client: Redis, key: Any, argument: object
) -> None:
    client.lpush(key("live"), envelope(CHECK_TASK, Lane.LIVE, [argument]))
    worker.take()
    assert client.hlen(key("unacked")) == 1


def test_hints_count_towards_what_a_worker_may_hold(worker: Worker, client: Redis, key: Any) -> None:
    client.lpush(key("backfill"), *(hint(Lane.BACKFILL) for _ in range(5)))
    worker.take()
    assert len(worker.held) == 2
    worker.held[0].ack()
    worker.take()
    assert len(worker.held) == 3
    assert client.llen(key("backfill")) == 2


def test_hints_that_a_stopping_worker_holds_return_to_the_front_of_their_lane(
    worker: Worker, client: Redis, key: Any
) -> None:
    messages = [hint(Lane.BACKFILL) for _ in range(4)]
    client.lpush(key("backfill"), *messages)
    worker.take()
    worker.held[0].ack()
    worker.channel.qos.restore_unacked_once()
    order = [check_of_message(item) for item in reversed(client.lrange(key("backfill"), 0, -1))]
    assert order == [check_of_message(item) for item in messages[1:]]


def test_a_hint_that_is_refused_for_now_returns_to_the_end_of_its_lane(worker: Worker, client: Redis, key: Any) -> None:
    message = hint()
    client.lpush(key("live"), message)
    worker.take()
    client.lpush(key("live"), hint())
    worker.held[0].reject(requeue=True)
    assert check_of_message(client.lrange(key("live"), 0, 0)[0]) == check_of_message(message)
