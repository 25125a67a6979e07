"""`queries.sql`: every statement is used, is valid, and reads what its indexes hold."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

import worker
from schema.states import CheckState, Lane
from tests.backlog.conftest import FILL
from tests.support.databases import Sql
from tests.support.ledger import submission
from worker.store import CheckFilter, Store, queries

FILTER = {"check_ids": None, "code": None, "source": None, "since": None, "until": None}
MANY_DONE = """
INSERT INTO susy.checks (id, source, external_id, uri, lane, state, finished_at, content_sha256)
SELECT gen_random_uuid(), 'old', 'done-' || i, '/images/1.jpg', 'live', 'done', now() - i * interval '1 minute',
    repeat('a', 64)
FROM generate_series(1, 20000) AS i
"""


@pytest.fixture(scope="module")
def full_store(shared_store: Store) -> Store:
    """Many checks that are done, some that wait in each lane, one in quarantine. The tests only ask for plans."""
    with shared_store._database.connection() as connection:
        connection.execute(MANY_DONE)
        for lane in Lane:
            connection.execute(FILL, ("flood", str(lane), 100))
        connection.execute(
            "UPDATE susy.checks SET state = 'quarantined', error_code = 'corrupt' WHERE external_id = 'done-1'"
        )
    shared_store.analyze()
    return shared_store


def test_every_statement_is_used_and_every_used_statement_exists() -> None:
    sources = [path.read_text() for path in Path(worker.__file__).parent.rglob("*.py")]
    used = {name for source in sources for name in re.findall(r"queries\.([A-Z_]+)\b", source)}
    assert used == set(queries.STATEMENTS)


def test_a_statement_that_does_not_exist_is_named() -> None:
    with pytest.raises(AttributeError, match="NO_SUCH"):
        _ = queries.NO_SUCH


@pytest.mark.parametrize("name", queries.STATEMENTS)
def test_postgres_understands_the_statement(shared_store: Store, name: str) -> None:
    statement = queries.STATEMENTS[name]
    if name in ("ANALYZE", "KEEP_PLANS", "PLAN_PER_CALL"):
        pytest.skip("cannot be prepared")
    names = list(dict.fromkeys(re.findall(r"%\((\w+)\)[sb]", statement)))
    numbered = re.sub(r"%\((\w+)\)[sb]", lambda match: f"${names.index(match[1]) + 1}", statement).replace("%%", "%")
    with shared_store._database.connection() as connection:
        connection.execute(f"PREPARE it AS {numbered}")
        connection.execute("DEALLOCATE it")


@pytest.mark.parametrize("lane", Lane)
@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("TAKE_DUE", {"limit": 500}),
        ("LANE_STATUS", {"exact_up_to": 1000, "window": 300.0}),
        ("COUNT_CHECKS", {**FILTER, "state": "queued", "dispatched": False}),
        ("CANCEL", {**FILTER, "dispatched": False, "limit": 1000}),
    ],
)
def test_a_lanes_statement_reads_that_lanes_index_and_never_the_whole_table(
    full_store: Store, lane: Lane, name: str, values: dict[str, Any]
) -> None:
    plan = explain(full_store, queries.STATEMENTS[name], {**values, "lane": str(lane)})
    assert f"ix_checks_waiting_{lane}" in plan
    assert "Seq Scan on checks" not in plan


def test_a_filter_that_is_not_given_leaves_the_index_of_the_state_usable(full_store: Store) -> None:
    values = {**FILTER, "lane": None, "state": "quarantined", "dispatched": None, "limit": 1000}
    for name in ("COUNT_CHECKS", "REQUEUE"):
        plan = explain(full_store, queries.STATEMENTS[name], {**values, "code": "corrupt"})
        assert "ix_checks_quarantined" in plan
        assert "Seq Scan on checks" not in plan


@pytest.mark.parametrize("name", ["FINISH", "RELEASE", "RETRY_LATER", "QUARANTINE", "RENEW", "READ_BACK"])
def test_a_statement_under_a_lease_does_not_read_the_index_of_running_checks(full_store: Store, name: str) -> None:
    """A dashboard's long transaction fills that index with dead entries, and each statement would read all of them."""
    key, token = uuid4(), uuid4()
    values = {
        "check_id": key, "lease_token": token, "check_ids": [key], "lease_tokens": [token], "lease": 90.0,
        "content_sha256": "a" * 64, "retry_in": 1.0, "code": "corrupt", "message": "broken",
        "etag": None, "version_id": None,
    }  # fmt: skip
    plan = explain(full_store, queries.STATEMENTS[name], values)
    assert "pk_checks" in plan
    assert "ix_checks_running" not in plan


@pytest.mark.parametrize("state", CheckState)
def test_every_check_of_a_state_is_counted_once(store: Store, run: Sql, state: CheckState) -> None:
    ids = [store.submit(submission(lane=lane)).check_id for lane in Lane for _ in range(3)]
    store.mark_dispatched(ids[:4])
    changes = {
        CheckState.QUEUED: "state = 'queued'",
        CheckState.RUNNING: "state = 'running', lease_token = gen_random_uuid(), lease_until = now(), worker = 'w',"
        " started_at = now(), attempts = 1",
        CheckState.DONE: "state = 'done', finished_at = now(), content_sha256 = repeat('a', 64)",
        CheckState.QUARANTINED: "state = 'quarantined', finished_at = now(), error_code = 'corrupt'",
        CheckState.CANCELLED: "state = 'cancelled', finished_at = now()",
        CheckState.EXPIRED: "state = 'expired', finished_at = now(), expires_at = now()",
    }
    run(f"UPDATE susy.checks SET {changes[state]}")
    assert store.count(state, CheckFilter()) == 6
    assert [store.count(state, CheckFilter(lane=lane)) for lane in Lane] == [3, 3]
    assert store.count(state, CheckFilter(check_ids=ids[:2])) == 2


def explain(store: Store, statement: str, values: dict[str, Any]) -> str:
    """The plan that Postgres makes for the statement on one of the store's connections."""
    with store._database.connection() as connection, connection.cursor() as cursor:
        try:
            return "\n".join(line for (line,) in cursor.execute(f"EXPLAIN {statement}", values))
        except psycopg.Error as error:
            raise AssertionError(statement) from error
