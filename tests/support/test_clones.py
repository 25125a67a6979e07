"""What a test leaves in a database that the next one is given."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import sql

from tests.support.databases import Clones, new_database
from tests.support.ledger import done, submission, submit_all
from worker.store import Store

TABLES = "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND oid >= 16384 ORDER BY 1"
BESIDE_ROWS = (
    "SELECT sequencename, last_value FROM pg_sequences ORDER BY 1",
    "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    " AND application_name <> 'clone' AND pid <> pg_backend_pid()",
)
CHANGES = (
    "CREATE TABLE mine (x int)",
    "CREATE VIEW mine AS SELECT 1",
    "CREATE FUNCTION mine() RETURNS int RETURN 1",
    "CREATE SCHEMA mine",
    "CREATE SEQUENCE mine",
    "CREATE DOMAIN mine AS int",
    "CREATE PUBLICATION mine",
    "CREATE STATISTICS mine ON state, lane FROM susy.checks",
    "CREATE INDEX mine ON susy.checks (state)",
    "CREATE POLICY mine ON susy.checks",
    "DROP VIEW dashboard.drift",
    "DROP TABLE susy.checks CASCADE",
    "ALTER TABLE susy.checks ADD mine int",
    "ALTER TABLE susy.checks ALTER uri DROP NOT NULL",
    "ALTER TABLE susy.checks DISABLE TRIGGER USER",
    "ALTER TABLE susy.checks ENABLE ROW LEVEL SECURITY",
    "ALTER TABLE susy.checks SET (fillfactor = 50)",
    "ALTER TABLE susy.checks ALTER state SET STATISTICS 7",
    "ALTER FUNCTION dashboard.version() SET search_path = susy",
    "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC",
    "GRANT SELECT ON susy.checks TO PUBLIC",
    "GRANT SELECT (state) ON susy.checks TO PUBLIC",
    "REVOKE ALL ON SCHEMA public FROM PUBLIC",
    "REVOKE EXECUTE ON FUNCTION pg_catalog.pg_sleep(double precision) FROM PUBLIC",
    "COMMENT ON TABLE susy.checks IS 'mine'",
    "SELECT lo_create(0)",
    "UPDATE susy.alembic_version SET version_num = version_num",
    "INSERT INTO susy.alembic_version VALUES ('mine')",
    "DELETE FROM susy.alembic_version",
    "VACUUM susy.checks",
    "ANALYZE susy.checks",
    "ALTER DATABASE {database} SET work_mem = '1MB'",
    "ALTER DATABASE {database} CONNECTION LIMIT 7",
    "GRANT CREATE ON DATABASE {database} TO PUBLIC",
    "ALTER ROLE susy_worker IN DATABASE {database} SET work_mem = '1MB'",
    "CREATE TEMPORARY TABLE mine (x int)",
    "TRUNCATE susy.rejected_messages",
)


@pytest.fixture
def clones(postgres_url: str, template_database: str) -> Iterator[Clones]:
    """None is lent yet."""
    clones = Clones(postgres_url, template_database)
    yield clones
    clones.close()


def state(url: str) -> list[tuple[str, list[tuple[Any, ...]]]]:
    """Statements and what they return: the rows of each table, sequences, locks and sessions."""
    with psycopg.connect(url) as connection:
        statements = [f"SELECT * FROM {table}" for (table,) in connection.execute(TABLES)]
        return [(each, connection.execute(each).fetchall()) for each in (*statements, *BESIDE_ROWS)]  # type: ignore[call-overload]


def test_rows_sequences_locks_and_sessions_of_a_test_are_gone(clones: Clones) -> None:
    with clones.lend() as first:
        original = state(first)
        with Store(first, pool_size=2) as store:
            done(store)
        session = psycopg.connect(first)
        session.execute("SELECT pg_advisory_lock(1)")
        session.execute("LISTEN something")
        open_transaction = psycopg.connect(first)
        open_transaction.execute("LOCK TABLE susy.checks IN SHARE ROW EXCLUSIVE MODE")
        with psycopg.connect(first) as connection:
            connection.execute("SELECT nextval(seqrelid) FROM pg_sequence")
        changed = {now[0] for before, now in zip(original, state(first), strict=True) if before != now}
        assert changed >= {"SELECT * FROM susy.checks", "SELECT * FROM susy.scans", *BESIDE_ROWS}

    with clones.lend() as second:
        assert second == first
        assert state(second) == original
        with pytest.raises(psycopg.OperationalError):
            session.execute("SELECT 1")
        with Store(second, pool_size=2) as store:
            done(store)
        open_transaction.close()


@pytest.mark.parametrize("change", CHANGES)
def test_a_database_whose_schema_settings_or_statistics_changed_is_dropped(
    clones: Clones, postgres_url: str, change: str
) -> None:
    with clones.lend() as first, psycopg.connect(first, autocommit=True) as connection:
        name = connection.info.dbname
        with connection.cursor() as cursor:
            cursor.execute(sql.SQL(change).format(database=sql.Identifier(name)))  # type: ignore[arg-type]

    with clones.lend() as second:
        assert second != first
    with psycopg.connect(postgres_url) as server:
        assert server.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchall() == []


def test_a_database_with_tables_so_large_that_plans_would_differ_is_dropped(clones: Clones) -> None:
    with clones.lend() as first, Store(first, pool_size=1) as store:
        submit_all(store, [submission(external_id=str(number)) for number in range(600)])
    with clones.lend() as second:
        assert second != first


def test_a_test_that_fails_or_drops_its_database_leaves_none(clones: Clones, postgres_url: str) -> None:
    with pytest.raises(ZeroDivisionError), clones.lend() as first:
        1 / 0  # noqa: B018
    with clones.lend() as second, psycopg.connect(postgres_url, autocommit=True) as server:
        assert second != first
        name = psycopg.conninfo.conninfo_to_dict(second)["dbname"]
        server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(str(name))))
    with clones.lend() as third:
        assert third not in (first, second)


def test_rows_are_deleted_whatever_forbids_it(postgres_url: str) -> None:
    """Triggers that refuse it, foreign keys, values that are stored apart; rows of the template stay."""
    with new_database(postgres_url) as template:
        with psycopg.connect(template) as connection:
            connection.execute("""
                CREATE TABLE a (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, x text);
                CREATE TABLE "B c" (a bigint REFERENCES a);
                CREATE TABLE seeded (x int);
                INSERT INTO seeded VALUES (1);
                CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'never'; END $$;
                CREATE TRIGGER never BEFORE DELETE OR UPDATE ON a EXECUTE FUNCTION refuse();
            """)
        clones = Clones(postgres_url, str(psycopg.conninfo.conninfo_to_dict(template)["dbname"]))
        rows = 'SELECT (SELECT count(*) FROM a), (SELECT count(*) FROM "B c"), (SELECT count(*) FROM seeded)'
        for _ in range(2):
            with clones.lend() as url, psycopg.connect(url) as connection:
                assert connection.execute(rows).fetchall() == [(0, 0, 1)]
                inserted = connection.execute("INSERT INTO a (x) VALUES (repeat('x', 5000)) RETURNING id").fetchall()
                assert inserted == [(1,)]
                connection.execute('INSERT INTO "B c" VALUES (1)')
            first = url
        with clones.lend() as url:
            assert url == first
        clones.close()
