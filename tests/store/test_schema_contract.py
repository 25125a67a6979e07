"""The dashboards' contract: its golden list, its version, and the page that is generated from the comments."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from tests.support.databases import Sql
from tools.database_page import CONTRACT, PAGE, broken_promises, contract, with_reference

REGENERATE = "run `python -m tools.database_page`"


@pytest.fixture
def connection(database_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database_url) as connection:
        yield connection


def test_the_database_keeps_what_the_golden_list_promises(connection: psycopg.Connection) -> None:
    assert broken_promises(CONTRACT.read_text(), connection) == []


def test_the_golden_list_is_complete(connection: psycopg.Connection) -> None:
    assert contract(connection) == CONTRACT.read_text(), REGENERATE


def test_the_page_is_generated_from_the_comments(connection: psycopg.Connection) -> None:
    assert with_reference(PAGE.read_text(), connection) == PAGE.read_text(), REGENERATE


@pytest.mark.parametrize(
    ("change", "lost"),
    [
        ("ALTER VIEW dashboard.quarantine RENAME COLUMN worker TO holder", "quarantine.worker text"),
        ("DROP VIEW dashboard.audit_log", "audit_log.at timestamp with time zone"),
        (
            "DROP VIEW dashboard.rejected_messages;"
            " CREATE VIEW dashboard.rejected_messages AS SELECT id::text, received_at, task, code, message, body"
            " FROM susy.rejected_messages",
            "rejected_messages.id bigint",
        ),
        ("DROP FUNCTION dashboard.record_review", "function record_review(check_id uuid"),
    ],
)
def test_a_change_that_breaks_dashboards_needs_a_new_version(
    connection: psycopg.Connection, change: str, lost: str
) -> None:
    connection.execute(change)  # type: ignore[arg-type]
    assert any(line.startswith(lost) for line in broken_promises(CONTRACT.read_text(), connection))
    connection.execute("CREATE OR REPLACE FUNCTION dashboard.version() RETURNS integer LANGUAGE sql RETURN 1000")
    assert broken_promises(CONTRACT.read_text(), connection) == []
    assert contract(connection) != CONTRACT.read_text()


def test_a_column_may_be_added_at_the_end(connection: psycopg.Connection) -> None:
    connection.execute(
        "CREATE OR REPLACE VIEW dashboard.rejected_messages AS"
        " SELECT id, received_at, task, code, message, body, 1 AS more FROM susy.rejected_messages"
    )
    lost = broken_promises(CONTRACT.read_text(), connection)
    assert [line for line in lost if line.startswith("rejected_messages.")] == []


def test_everything_in_both_schemas_is_explained(run: Sql) -> None:
    schemas = ["susy", "dashboard"]
    columns = run(
        "SELECT attrelid::regclass::text, attname::text FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid"
        " WHERE relnamespace = ANY (%s::regnamespace[]) AND relkind IN ('r', 'p', 'v', 'm') AND attnum > 0"
        " AND NOT attisdropped AND relname <> 'alembic_version' AND col_description(attrelid, attnum) IS NULL",
        schemas,
    )
    relations = run(
        "SELECT oid::regclass::text FROM pg_class WHERE relnamespace = ANY (%s::regnamespace[])"
        " AND relkind IN ('r', 'p', 'v', 'm') AND relname <> 'alembic_version'"
        " AND obj_description(oid, 'pg_class') IS NULL",
        schemas,
    )
    functions = run(
        "SELECT oid::regprocedure::text FROM pg_proc WHERE pronamespace = ANY (%s::regnamespace[])"
        " AND obj_description(oid, 'pg_proc') IS NULL",
        schemas,
    )
    assert (columns, relations, functions) == ([], [], [])
