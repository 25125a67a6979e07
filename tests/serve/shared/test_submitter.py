"""One INSERT for all requests that wait, and each request's own outcome."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from schema.messages import Submission
from tests.support.databases import Sql
from tests.support.http_service import Client
from tests.support.postgres_proxy import PostgresProxy
from worker.errors import ErrorCode, PermanentError
from worker.queue.publisher import Publisher
from worker.serve.shared.submitter import Submitter
from worker.settings import Settings
from worker.store import Store

CHECK = {"source": "avatars", "uri": "/images/1.jpg"}


def test_requests_that_wait_for_one_another_share_a_statement(
    client: Client, run: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    original = Store.submit_each

    def slow(store: Store, submissions: Iterable[Submission], **options: Any) -> Any:
        given = list(submissions)
        sizes.append(len(given))
        time.sleep(0.2)
        return original(store, given, **options)

    monkeypatch.setattr(Store, "submit_each", slow)
    with ThreadPoolExecutor(30) as pool:
        answers = list(
            pool.map(lambda number: client.post("/v1/checks", CHECK | {"external_id": str(number % 20)}), range(30))
        )
    assert sorted(answer.status for answer in answers) == [200] * 10 + [202] * 20
    assert len(sizes) < 20
    assert run("SELECT count(*) FROM susy.checks") == [(20,)]
    by_number: dict[int, set[str]] = {}
    for number, answer in enumerate(answers):
        by_number.setdefault(number % 20, set()).add(answer.document["check_id"])
    assert all(len(ids) == 1 for ids in by_number.values())


def test_a_value_that_postgres_refuses_fails_alone(client: Client, run: Sql, monkeypatch: pytest.MonkeyPatch) -> None:
    original = Store.submit_each

    def refusing(store: Store, submissions: Iterable[Submission], **options: Any) -> Any:
        given = list(submissions)
        if any(item.external_id == "bad" for item in given):
            raise PermanentError(ErrorCode.INVALID_MESSAGE, "Postgres cannot store a value")
        return original(store, given, **options)

    monkeypatch.setattr(Store, "submit_each", refusing)
    answer = client.post("/v1/checks", [CHECK | {"external_id": name} for name in ("a", "bad", "b")])
    assert [item["status"] for item in answer.document["items"]] == [202, 422, 202]
    assert run("SELECT external_id FROM susy.checks ORDER BY 1") == [("a",), ("b",)]


def submit_in_turn(store: Store, publisher: Publisher, names: list[str]) -> list[Any]:
    """The outcomes of one submission after the other, by a submitter that runs one INSERT at once."""

    async def submit_all() -> list[Any]:
        submitter = Submitter(store, publisher, at_once=1)
        outcomes: list[Any] = []
        async with asyncio.timeout(30):
            for name in names:
                submission = Submission(**CHECK, external_id=name)
                outcomes += await asyncio.gather(submitter.submit([submission]), return_exceptions=True)
        submitter.close()
        return outcomes

    return asyncio.run(submit_all())


def test_a_submission_in_the_moment_in_which_a_writer_ends_is_not_left_behind(
    store: Store, publisher: Publisher
) -> None:
    outcomes = submit_in_turn(store, publisher, ["1", "2", "3"])
    assert [[receipt.created for receipt in receipts] for receipts in outcomes] == [[True]] * 3


def test_an_unexpected_error_fails_its_submission_and_not_the_next(
    store: Store, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Store.submit_each

    def failing(store: Store, submissions: Iterable[Submission], **options: Any) -> Any:
        given = list(submissions)
        if given[0].external_id == "1":
            raise ZeroDivisionError
        return original(store, given, **options)

    monkeypatch.setattr(Store, "submit_each", failing)
    failed, [written] = submit_in_turn(store, publisher, ["1", "2"])
    assert isinstance(failed, ZeroDivisionError)
    assert written.created


@pytest.fixture
def serve_changes(proxy: PostgresProxy, settings: Settings) -> dict[str, object]:
    return {"database_url": proxy.url}


def test_while_postgres_is_away_nothing_is_accepted_and_then_it_is_again(
    client: Client, proxy: PostgresProxy, run: Sql
) -> None:
    assert client.post("/v1/checks", CHECK | {"external_id": "1"}).status == 202
    proxy.close()
    refused = client.post("/v1/checks", CHECK | {"external_id": "2"})
    assert (refused.status, refused.code) == (503, "database_unavailable")
    assert int(refused.headers["retry-after"]) >= 1
    assert "127.0.0.1" not in refused.document["detail"], "clients learn nothing of the servers behind"
    assert run("SELECT external_id FROM susy.checks") == [("1",)]


def test_an_idempotency_key_takes_the_place_of_external_ids(client: Client, run: Sql) -> None:
    for expected in (202, 200):
        assert client.post("/v1/checks", CHECK, Idempotency_Key="k1").status == expected
        listed = client.post("/v1/checks", [CHECK, CHECK | {"external_id": "own"}], Idempotency_Key="k2")
        assert listed.status == expected
    assert client.post("/v1/checks", CHECK | {"uri": "/images/2.jpg"}, Idempotency_Key="k1").code == "conflict"
    assert client.post("/v1/checks", CHECK, Idempotency_Key="k" * 201).code == "invalid_message"
    found = run("SELECT external_id FROM susy.checks ORDER BY 1")
    assert found == [("own",), ("request:k1",), ("request:k2/0",)]
