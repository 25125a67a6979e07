from __future__ import annotations

import logging
import re
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

import schema
from schema.scan import Precision
from schema.states import EventType
from schema.tables import SCHEMA, metadata
from tests.support.ledger import VERDICT, claimed, done, examination, submission
from worker.errors import ErrorCode, SetupError, SusyError
from worker.store import Store
from worker.store.migrate import current, downgrade, head, require_current, upgrade

DASHBOARD = Path(schema.__file__).with_name("dashboard.sql")
COMMENTS = DASHBOARD.with_name("comments.sql")

# Everything that can be said of a database's objects, in Postgres' own words.
DESCRIPTIONS = {
    "columns": """
        SELECT attrelid::regclass::text, attname, format_type(atttypid, atttypmod), attnotnull, attidentity, attstorage,
            pg_get_expr(adbin, adrelid), col_description(attrelid, attnum)
        FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
        LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
        WHERE relnamespace = ANY (%(schemas)s::regnamespace[]) AND attnum > 0 AND NOT attisdropped""",
    "constraints": """
        SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
        WHERE connamespace = ANY (%(schemas)s::regnamespace[]) AND contype <> 'n'""",
    "relations": """
        SELECT oid::regclass::text, relkind, reloptions, obj_description(oid, 'pg_class') FROM pg_class
        WHERE relnamespace = ANY (%(schemas)s::regnamespace[])""",
    "indexes": """
        SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index
        JOIN pg_class ON pg_class.oid = indexrelid WHERE relnamespace = ANY (%(schemas)s::regnamespace[])""",
    "views": """
        SELECT schemaname, viewname, definition FROM pg_views
        WHERE schemaname = ANY (%(schemas)s)""",
    "triggers": """
        SELECT pg_get_triggerdef(pg_trigger.oid) FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
        WHERE relnamespace = ANY (%(schemas)s::regnamespace[]) AND NOT tgisinternal""",
    "functions": """
        SELECT pg_get_functiondef(oid), obj_description(oid, 'pg_proc') FROM pg_proc
        WHERE pronamespace = ANY (%(schemas)s::regnamespace[])""",
}


def described(database_url: str) -> dict[str, set[str]]:
    with psycopg.connect(database_url) as connection:
        found: dict[str, set[str]] = {}
        for what, query in DESCRIPTIONS.items():
            rows: list[Any] = connection.execute(query, {"schemas": ["susy", "dashboard"]}).fetchall()
            found[what] = {re.sub(r"\s+", " ", repr(row).replace(r"\n", " ")) for row in rows}
        return {what: {line for line in lines if "alembic_version" not in line} for what, lines in found.items()}


def schemas(database_url: str) -> set[str]:
    with psycopg.connect(database_url) as connection:
        rows = connection.execute("SELECT nspname FROM pg_namespace WHERE nspname !~ '^(pg_|information_schema)'")
        return {name for (name,) in rows}


def engine(database_url: str) -> sa.Engine:
    return sa.create_engine(
        "postgresql+psycopg://", creator=lambda: psycopg.connect(database_url), poolclass=sa.NullPool
    )


def test_the_migrated_database_has_the_declared_tables(database_url: str) -> None:
    with engine(database_url).connect() as connection:
        options = {"version_table_schema": SCHEMA, "include_schemas": True, "include_name": _only_ours}
        context = MigrationContext.configure(connection, opts=options)
        assert [one for one in compare_metadata(context, metadata) if not _is_compared_below(one)] == []


def _is_compared_below(difference: Any) -> bool:
    """Comments are in schema/comments.sql, and Alembic cannot compare an index on an expression: see the next test."""
    kind, *about = difference[0] if isinstance(difference, list) else difference
    if kind in ("add_index", "remove_index"):
        return about[0].name == "ix_reviews_day"
    return kind in ("modify_comment", "add_table_comment", "remove_table_comment")


def _only_ours(name: str | None, kind: str, _parents: Any) -> bool:
    return kind != "schema" or name == SCHEMA


def test_the_migrated_database_equals_the_declared_one_to_the_last_constraint(
    database_url: str, empty_database_url: str
) -> None:
    with engine(empty_database_url).begin() as connection:
        connection.exec_driver_sql("CREATE SCHEMA susy")
        connection.exec_driver_sql("CREATE SCHEMA dashboard")
        metadata.create_all(connection)
        for script in (DASHBOARD, COMMENTS):
            connection.exec_driver_sql(script.read_text(), execution_options={"no_parameters": True})
    declared, migrated = described(empty_database_url), described(database_url)
    for what in DESCRIPTIONS:
        assert migrated[what] == declared[what], what
        assert migrated[what]


def test_downgrading_to_base_leaves_nothing_and_upgrading_works_again(database_url: str) -> None:
    downgrade(database_url, "base")
    assert schemas(database_url) == {"public"}
    assert current(database_url) is None
    upgrade(database_url)
    assert current(database_url) == head()


def test_downgrading_what_was_never_upgraded_changes_nothing(empty_database_url: str) -> None:
    downgrade(empty_database_url, "base")
    assert schemas(empty_database_url) == {"public"}


def test_downgrading_keeps_what_others_put_beside_the_views(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("CREATE TABLE dashboard.notes (note text)")
    downgrade(database_url, "base")
    assert schemas(database_url) == {"public", "dashboard"}


def test_going_one_version_back_restores_its_views_and_who_may_read_them(database_url: str) -> None:
    before = described(database_url)
    downgrade(database_url, "0002")
    with psycopg.connect(database_url) as connection:
        connection.execute("SET ROLE susy_dashboard")
        columns = connection.execute("SELECT * FROM dashboard.checks LIMIT 0").description or []
    assert [column.name for column in columns][-1] == "review_decision"
    upgrade(database_url)
    assert described(database_url) == before


def test_verdicts_from_before_confidences_were_stored_get_the_value_the_views_showed(database_url: str) -> None:
    with Store(database_url, pool_size=1) as store:
        named, without = done(store), done(store, verdict=replace(VERDICT, generator=None, generator_confidence=None))
    downgrade(database_url, "0003")
    with psycopg.connect(database_url) as connection:
        shown = connection.execute("SELECT id, generator_confidence FROM dashboard.checks").fetchall()
    upgrade(database_url)
    with psycopg.connect(database_url) as connection:
        stored = connection.execute("SELECT check_id, generator_confidence FROM susy.verdicts").fetchall()
    assert dict(stored) == dict(shown) == {named.check_id: 0.6667, without.check_id: None}


def test_scans_from_before_precisions_were_stored_are_float32(database_url: str) -> None:
    with Store(database_url, pool_size=1) as store:
        check = done(store)
        before = store.show(check.check_id)
        downgrade(database_url, "0006")
        upgrade(database_url)
        assert before.scan is not None
        assert store.show(check.check_id).scan.model == before.scan.model  # type: ignore[union-attr]
        assert before.scan.model.precision is Precision.FLOAT32


def test_going_back_before_precisions_is_refused_while_a_content_has_two(database_url: str) -> None:
    with Store(database_url, pool_size=1) as store:
        claim = done(store)
        scan = store.show(claim.check_id).scan
        assert scan is not None
        other = replace(scan, model=replace(scan.model, precision=Precision.BFLOAT16))
        store.record(claimed(store), examination(other))
        with pytest.raises(SusyError, match="uq_scans_content_sha256_weights_sha256_tiling"):
            downgrade(database_url, "0006")
        assert current(database_url) == head()


def test_going_back_before_deadlines_makes_expired_checks_cancelled_ones_without_an_event(database_url: str) -> None:
    before = described(database_url)
    with Store(database_url, pool_size=1) as store:
        check_id = store.submit(submission(expires_at="2020-01-01T00:00:00Z")).check_id
        assert store.expire(limit=1) == 1
        downgrade(database_url, "0008")
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT id, state FROM dashboard.checks").fetchall() == [(check_id, "cancelled")]
        events = connection.execute("SELECT type FROM susy.events").fetchall()
        assert events == [(str(EventType.CHECK_EXPIRED),)]
    upgrade(database_url)
    assert described(database_url) == before


def test_upgrading_twice_changes_nothing(database_url: str) -> None:
    before = described(database_url)
    upgrade(database_url)
    assert described(database_url) == before


def test_starters_that_upgrade_together_do_not_collide(empty_database_url: str) -> None:
    failures: list[SusyError] = []

    def start() -> None:
        try:
            upgrade(empty_database_url)
        except SusyError as error:
            failures.append(error)

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert current(empty_database_url) == head()


def test_a_failing_migration_leaves_the_database_as_it_was(empty_database_url: str) -> None:
    with psycopg.connect(empty_database_url) as connection:
        connection.execute("CREATE SCHEMA dashboard")
        connection.execute("CREATE TABLE dashboard.checks (id int)")
    with pytest.raises(SetupError, match='"checks" already exists'):
        upgrade(empty_database_url)
    assert schemas(empty_database_url) == {"public", "dashboard"}
    assert current(empty_database_url) is None


def test_upgrading_leaves_logging_alone(empty_database_url: str) -> None:
    root = logging.getLogger()
    before = (root.level, list(root.handlers), logging.getLogger("alembic").level)
    upgrade(empty_database_url)
    assert (root.level, list(root.handlers), logging.getLogger("alembic").level) == before


def test_an_empty_database_is_told_apart_from_a_current_one(empty_database_url: str, database_url: str) -> None:
    require_current(database_url)
    assert current(database_url) == head()
    assert current(empty_database_url) != head()
    with pytest.raises(SetupError, match="susy db upgrade") as caught:
        require_current(empty_database_url)
    assert caught.value.code is ErrorCode.DATABASE_OUTDATED


def test_a_database_of_a_newer_version_is_left_alone(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE susy.alembic_version SET version_num = '9999'")
    for step in (upgrade, require_current):
        with pytest.raises(SetupError, match=r"9999.*upgrade susy-worker"):
            step(database_url)


def test_an_unknown_revision_is_named(database_url: str) -> None:
    with pytest.raises(SetupError, match="nonsense"):
        upgrade(database_url, "nonsense")


def test_working_on_a_database_without_a_ledger_names_the_remedy(empty_database_url: str) -> None:
    with Store(empty_database_url, pool_size=1) as store, pytest.raises(SetupError, match="susy db upgrade") as caught:
        store.status()
    assert caught.value.code is ErrorCode.DATABASE_OUTDATED
    assert isinstance(caught.value.__cause__, psycopg.Error)
