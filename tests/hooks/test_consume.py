"""Consumers of real queues: nothing is lost, nothing is made twice, what cannot be used is set aside."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.hooks.payloads import Topic, cloudevent, eventbridge, minio, s3, s3_record
from tests.support.commands import Processes, Susy
from tests.support.databases import Sql
from tests.support.postgres_proxy import PostgresProxy
from tests.support.sqs import CREDENTIALS, SqsServer, TestQueue
from tests.support.waiting import eventually
from worker.errors import ConfigurationError, ErrorCode
from worker.hooks.consume import Queue, consume
from worker.hooks.mapping import HooksFile
from worker.hooks.sqs import SqsQueue
from worker.hooks.stream import RedisStream
from worker.queue.publisher import Publisher
from worker.settings import Settings
from worker.settings.redis_url import RedisUrl
from worker.store import Store

STREAM = "uploads"


def event(number: int, **stored: Any) -> str:
    return json.dumps(s3(s3_record("uploads", f"{number}.png", eTag=f"e{number}", **stored)))


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def queue(sqs_server: SqsServer) -> TestQueue:
    return sqs_server.queue(VisibilityTimeout="2")


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as client:
        yield client


def stream(redis_url: str, **options: Any) -> RedisStream:
    return RedisStream(RedisUrl.parse(redis_url), STREAM, block=0.2, **options)


@contextmanager
def consuming(hooks: HooksFile, store: Store, settings: Settings, *queues: Queue) -> Iterator[None]:
    stopped = threading.Event()
    with Publisher(settings) as publisher:
        thread = threading.Thread(target=consume, args=(queues, hooks, store, publisher, stopped))
        thread.start()
        try:
            yield
        finally:
            stopped.set()
            thread.join(30)
            assert not thread.is_alive()


def count(run: Sql) -> int:
    return int(run("SELECT count(*) FROM susy.checks")[0][0])


def rejected(run: Sql) -> list[tuple[Any, ...]]:
    return run("SELECT task, code, body FROM susy.rejected_messages ORDER BY id")


# --- SQS


def test_a_message_of_any_form_becomes_a_check_and_leaves_the_queue(
    queue: TestQueue, hooks: HooksFile, store: Store, settings: Settings, run: Sql
) -> None:
    queue.send(
        event(1),
        json.dumps(minio("uploads", "2.png")),
        json.dumps(eventbridge("uploads", "3.png")),
        json.dumps(Topic().notification(event(4))),
        json.dumps(cloudevent("image.uploaded", {"uri": "s3://uploads/5.png"})),
        json.dumps(s3(s3_record("uploads", "6.png", name="ObjectRemoved:Delete"))),
        event(1),
    )
    with consuming(hooks, store, settings, SqsQueue(queue.url, long_poll=1)):
        eventually(lambda: queue.remaining() == 0, 30)
    assert {uri for (uri,) in run("SELECT uri FROM susy.checks")} == {f"s3://uploads/{n}.png" for n in range(1, 6)}
    assert rejected(run) == []


def test_what_cannot_be_used_is_set_aside_with_its_code(
    queue: TestQueue, hooks: HooksFile, store: Store, settings: Settings, run: Sql
) -> None:
    mixed = json.loads(event(1))
    mixed["Records"] += [s3_record("elsewhere", "a.png"), s3_record("uploads", "b.png", version="3.0")]
    bodies = ["not json", json.dumps(mixed), event(2)]
    queue.send(*bodies)
    with consuming(hooks, store, settings, SqsQueue(queue.url, long_poll=1)):
        eventually(lambda: queue.remaining() == 0, 30)
    assert count(run) == 2
    name = f"sqs:{queue.url.rpartition('/')[2]}"
    assert sorted(rejected(run)) == sorted(
        [
            (name, "invalid_event", bodies[0]),
            (name, "unmapped_bucket", bodies[1]),
            (name, "unknown_event_version", bodies[1]),
        ]
    )


def test_while_postgres_is_away_messages_stay_in_the_queue(
    queue: TestQueue, hooks: HooksFile, settings: Settings, proxy: PostgresProxy, run: Sql
) -> None:
    with Store(proxy.url, pool_size=2, timeout=1.0) as store:
        proxy.refuse(True)
        queue.send(event(1))
        with consuming(hooks, store, settings, SqsQueue(queue.url, long_poll=1)):
            time.sleep(1.5)
            assert queue.remaining() == 1
            proxy.refuse(False)
            eventually(lambda: queue.remaining() == 0, 30)
    assert count(run) == 1


def test_a_queue_that_does_not_exist_is_named(sqs_server: SqsServer) -> None:
    with pytest.raises(ConfigurationError, match="no-such-queue") as refused:
        SqsQueue(f"{sqs_server.endpoint}/123456789012/no-such-queue").require()
    assert refused.value.code is ErrorCode.QUEUE_MISSING
    for url in ("uploads", "ftp://host/queue", "https://user:secret@host/1/queue"):
        with pytest.raises(ConfigurationError) as invalid:
            SqsQueue(url)
        assert "secret" not in invalid.value.message


# --- Streams


def test_entries_of_a_stream_become_checks_once_and_are_acknowledged(
    client: redis.Redis, redis_url: str, hooks: HooksFile, store: Store, settings: Settings, run: Sql
) -> None:
    for number in range(120):
        client.xadd(STREAM, {"event": event(number)})
    client.xadd(STREAM, {"any-name": event(1)})
    client.xadd(STREAM, {"a": "1", "b": "2"})
    client.xadd(STREAM, {"event": "{"})
    with consuming(hooks, store, settings, stream(redis_url), stream(redis_url)):
        eventually(lambda: count(run) == 120 and client.xpending(STREAM, "susy")["pending"] == 0, 30)
        client.xadd(STREAM, {"event": event(500)})
        eventually(lambda: count(run) == 121, 30)
    assert [(task, code) for task, code, _ in rejected(run)] == [("stream:uploads", "invalid_event")] * 2
    assert client.xlen(STREAM) == 124  # other groups may read them
    with consuming(hooks, store, settings, stream(redis_url, group="other", delete=True)):
        eventually(lambda: client.xlen(STREAM) == 0, 30)
    assert count(run) == 121


def test_the_entries_of_a_consumer_that_died_are_claimed(
    client: redis.Redis, redis_url: str, hooks: HooksFile, store: Store, settings: Settings, run: Sql
) -> None:
    for number in range(10):
        client.xadd(STREAM, {"event": event(number)})
    dead = stream(redis_url)
    assert len(dead.receive()) == 10
    dead.close()
    with consuming(hooks, store, settings, stream(redis_url, claim_after=0.3)):
        eventually(lambda: client.xpending(STREAM, "susy")["pending"] == 0, 30)
    assert count(run) == 10


def test_an_entry_that_no_consumer_survives_is_set_aside(
    client: redis.Redis, redis_url: str, hooks: HooksFile, store: Store, settings: Settings, run: Sql
) -> None:
    client.xadd(STREAM, {"event": event(1)})
    for number in range(11):
        dying = stream(redis_url, claim_after=0.0)
        assert len(dying.receive()) == 1, number
        dying.close()
    with consuming(hooks, store, settings, stream(redis_url, claim_after=0.0)):
        eventually(lambda: client.xpending(STREAM, "susy")["pending"] == 0, 30)
    assert [(task, code) for task, code, _ in rejected(run)] == [("stream:uploads", "unexpected")]
    assert count(run) == 0


def test_a_stream_that_redis_lost_is_made_again(
    client: redis.Redis, redis_url: str, hooks: HooksFile, store: Store, settings: Settings, run: Sql
) -> None:
    with consuming(hooks, store, settings, stream(redis_url)):
        eventually(lambda: client.exists(STREAM), 30)
        client.flushdb()
        client.xadd(STREAM, {"event": event(1)})
        eventually(lambda: count(run) == 1, 30)


# --- Processes


@pytest.fixture
def consumer_variables(hooks_path: Path) -> dict[str, str]:
    return {"SUSY_HOOKS_FILE": str(hooks_path), **CREDENTIALS}


def test_a_consumer_of_sqs_that_is_killed_again_and_again_loses_nothing(
    processes: Processes, queue: TestQueue, consumer_variables: dict[str, str], run: Sql
) -> None:
    _survive_kills(processes, ["sqs", queue.url], consumer_variables, run, lambda n: queue.send(event(n)))
    eventually(lambda: queue.remaining() == 0, 30, processes.output)
    processes.started[-1].kill()  # which ends a long poll at once


def test_a_consumer_of_a_stream_that_is_killed_again_and_again_loses_nothing(
    processes: Processes,
    client: redis.Redis,
    consumer_variables: dict[str, str],
    run: Sql,
) -> None:
    def send(number: int) -> None:
        client.xadd(STREAM, {"event": event(number)})

    _survive_kills(processes, ["stream", STREAM], consumer_variables, run, send, is_complete=False)
    # What the killed ones held is claimed after a minute, here at once.
    held = client.xpending(STREAM, "susy")["pending"]
    assert count(run) + held >= 60
    for entry in client.xpending_range(STREAM, "susy", "-", "+", 100):
        client.xclaim(STREAM, "susy", "dead", 0, [entry["message_id"]], idle=61_000)
    eventually(lambda: count(run) == 60 and client.xpending(STREAM, "susy")["pending"] == 0, 60, processes.output)


def _survive_kills(
    processes: Processes,
    arguments: list[str],
    variables: dict[str, str],
    run: Sql,
    send: Callable[[int], None],
    *,
    is_complete: bool = True,
) -> None:
    """Send 60 events while consumers are killed in the middle, and one is left running."""
    for round_ in range(3):
        consumer = processes.start("consume", *arguments, **variables)
        for number in range(20 * round_, 20 * round_ + 20):
            send(number)
        processes.eventually(lambda seen=20 * round_ + 3: count(run) >= seen)  # type: ignore[misc]
        consumer.kill()
    processes.start("consume", *arguments, **variables)
    if is_complete:
        processes.eventually(lambda: count(run) == 60)


def test_a_consumer_stops_when_told_and_refuses_to_start_without_a_hooks_file(
    processes: Processes, susy: Susy, client: redis.Redis, consumer_variables: dict[str, str]
) -> None:
    consumer = processes.start("consume", "stream", STREAM, **consumer_variables)
    eventually(lambda: client.exists(STREAM), 60, consumer.output)
    consumer.terminate()
    assert consumer.wait(30) == 0
    result = susy("consume", "stream", STREAM)
    assert (result.code, "SUSY_HOOKS_FILE" in result.stderr) == (2, True)
