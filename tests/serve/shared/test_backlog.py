"""Backpressure: who is asked to submit later, when, and that nothing is written then."""

from __future__ import annotations

import time
from typing import Any

import pytest

from schema.states import Lane
from tests.backlog.conftest import FILL
from tests.support.databases import Sql
from tests.support.http_service import Client
from tests.support.ledger import submission
from worker.serve.shared.times import DEFAULT_TIMES, TimeLimits
from worker.store import Store, queries

CHECK = {"source": "avatars", "uri": "/images/1.jpg"}


@pytest.fixture
def serve_changes() -> dict[str, object]:
    return {"max_wait_live": 60.0}


@pytest.fixture
def times() -> TimeLimits:
    """The ledger is asked for every request."""
    return TimeLimits(backlog_age=-1.0)


def make_wait(store: Store, run: Sql, seconds: float, **changes: Any) -> None:
    check_id = store.submit(submission(**changes)).check_id
    run("UPDATE susy.checks SET next_attempt_at = now() - make_interval(secs => %s) WHERE id = %s", seconds, check_id)


def count(run: Sql) -> int:
    number: int = run("SELECT count(*) FROM susy.checks")[0][0]
    return number


def test_a_source_that_waits_too_long_is_asked_to_come_again(client: Client, store: Store, run: Sql) -> None:
    make_wait(store, run, 50)
    assert client.post("/v1/checks", CHECK).status == 202
    make_wait(store, run, 200)
    before = count(run)
    refused = client.post("/v1/checks", CHECK)
    assert (refused.status, refused.code) == (429, "backlog_full")
    assert 135 <= int(refused.headers["retry-after"]) <= 160
    assert count(run) == before
    assert client.post("/v1/checks", CHECK | {"source": "chat"}).status == 202
    assert client.post("/v1/checks", CHECK | {"lane": "backfill"}).status == 202


def test_a_list_is_accepted_except_for_what_must_wait(client: Client, store: Store, run: Sql) -> None:
    make_wait(store, run, 100_000)
    answer = client.post("/v1/checks", [CHECK, CHECK | {"source": "chat"}])
    assert [item["status"] for item in answer.document["items"]] == [429, 202]
    everything = client.post("/v1/checks", [CHECK, CHECK])
    assert (everything.status, everything.code, everything.headers["retry-after"]) == (429, "backlog_full", "300")


def test_checks_that_were_sent_to_redis_count_and_those_of_a_paused_lane_do_not(
    client: Client, store: Store, run: Sql
) -> None:
    make_wait(store, run, 200)
    run("UPDATE susy.checks SET dispatched_at = now()")
    assert client.post("/v1/checks", CHECK).status == 429
    store.pause(Lane.LIVE)
    assert client.post("/v1/checks", CHECK).status == 202
    store.resume(Lane.LIVE)
    assert client.post("/v1/checks", CHECK).status == 429


def test_what_is_due_later_does_not_count(client: Client, store: Store, run: Sql) -> None:
    make_wait(store, run, -3600)
    assert store.oldest_due_age("avatars", Lane.LIVE) is None
    assert client.post("/v1/checks", CHECK).status == 202


@pytest.mark.parametrize("times", [DEFAULT_TIMES])
def test_the_ledger_is_asked_once_for_requests_that_come_together(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []
    original = Store.oldest_due_age

    def counted(store: Store, source: str, lane: Lane) -> float | None:
        asked.append(time.monotonic())
        return original(store, source, lane)

    monkeypatch.setattr(Store, "oldest_due_age", counted)
    began = time.monotonic()
    for _ in range(10):
        assert client.post("/v1/checks", [CHECK] * 5).status == 202
    assert len(asked) <= time.monotonic() - began + 1


def test_the_question_reads_indexes_alone(store: Store, run: Sql) -> None:
    run(FILL, "flood", "live", 20_000)
    store.analyze()
    values = {"source": "flood", "lane": "live"}
    with store._database.connection() as connection:
        plan = "\n".join(line for (line,) in connection.execute(f"EXPLAIN {queries.OLDEST_DUE_AGE}", values))
    assert "ix_checks_waiting_live" in plan
    assert "Seq Scan on checks" not in plan
