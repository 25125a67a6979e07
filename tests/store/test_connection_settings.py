"""What a role or a database sets for its sessions does not change what the store writes and reads."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from schema.states import CheckState, Lane
from tests.support.commands import Susy
from tests.support.databases import Sql
from tests.support.ledger import SCAN, VERDICT, claimed, done, submission
from tests.support.postgres_proxy import PostgresProxy
from worker.errors import ErrorCode, TransientError
from worker.store import CheckFilter, Store
from worker.store.migrate import require_current, upgrade

UNUSUAL = {
    "DateStyle": ["German, DMY", "SQL, YMD", "Postgres, DMY"],
    "IntervalStyle": ["sql_standard", "iso_8601", "postgres_verbose"],
    "TimeZone": ["Asia/Kathmandu", "America/St_Johns"],
    "bytea_output": ["escape"],
    "extra_float_digits": ["-15", "0", "3"],
    "search_path": ["", "nowhere", "shadows, pg_catalog"],
    "client_encoding": ["LATIN1", "SQL_ASCII", "WIN1252"],
    "array_nulls": ["off"],
    "standard_conforming_strings": ["off"],
    "default_transaction_read_only": ["on"],
    "default_transaction_isolation": ["serializable", "repeatable read", "read uncommitted"],
    "default_transaction_deferrable": ["on"],
    "statement_timeout": ["1ms", "50ms", "0"],
    "lock_timeout": ["1ms"],
    "transaction_timeout": ["1ms"],
    "idle_in_transaction_session_timeout": ["1ms"],
    "idle_session_timeout": ["1ms", "100ms"],
    "plan_cache_mode": ["force_generic_plan"],
    "client_min_messages": ["error", "debug5"],
    "lc_messages": ["C"],
    "lc_numeric": ["C"],
    "work_mem": ["64kB"],
    "row_security": ["off"],
    "application_name": ["another name"],
    "transform_null_equals": ["on"],
    "exit_on_error": ["on"],
    "from_collapse_limit": ["1"],
    "join_collapse_limit": ["1"],
}


TIMEOUTS = ("statement_timeout", "idle_session_timeout")
"""They end a session before its first statement."""


def use_everything(store: Store) -> None:
    """Take a check through each of its states, and compare every kind of value with what was written."""
    names = f"Ünïcode-{datetime.now(UTC).timestamp()}", "x"
    plain = store.submit(
        submission(external_id=names[0], uri="/bilder/Größe 'x' \\ 1.jpg", attributes={"name": "Ł\\n"})
    )
    again = store.submit(submission(external_id=names[0], uri="/bilder/Größe 'x' \\ 1.jpg"))
    assert (again.check_id, again.created) == (plain.check_id, False)
    details = store.show(plain.check_id)
    assert details.policy is None
    assert details.uri == "/bilder/Größe 'x' \\ 1.jpg"
    assert details.attributes == {"name": "Ł\\n"}
    assert abs(details.created_at - datetime.now(UTC)) < timedelta(minutes=1)
    finished = done(store, policy="strict")
    shown = store.show(finished.check_id)
    assert shown.verdict == VERDICT
    assert shown.scan is not None
    assert shown.scan.corners.tobytes() == SCAN.corners.tobytes()
    assert shown.map_png is not None
    lost = claimed(store)
    assert store.renew([lost], 60) == {lost.lease_token}
    assert store.fail(lost, code=ErrorCode.CORRUPT, message="Ünlesbar", retry_in=None)
    since = CheckFilter(check_ids=[lost.check_id], since=store.now() - timedelta(minutes=1))
    assert store.count(CheckState.QUARANTINED, since) == 1
    assert store.requeue(CheckState.QUARANTINED, since) == 1
    assert store.take_due(Lane.LIVE, limit=10)
    store.forget_dispatched(Lane.LIVE, age=0.0, limit=10)
    store.reclaim_expired(max_attempts=5, limit=10)
    store.reject_message("susy.submit", "{'\\ü", code=ErrorCode.INVALID_MESSAGE, message="Ü")
    status = store.status()
    assert status.lanes[0].oldest_age is not None
    assert status.lanes[0].done_per_minute > 0
    assert [lane.queued for lane in store.status(exact_up_to=None).lanes] == [lane.queued for lane in status.lanes]
    with store.lead() as leading:
        assert leading
    assert store.cancel(CheckFilter(check_ids=[plain.check_id])) == 1


def test_no_setting_of_a_database_changes_anything(database_url: str, run: Sql) -> None:
    run("CREATE SCHEMA shadows")
    run("CREATE FUNCTION shadows.now() RETURNS timestamptz LANGUAGE sql AS $$ SELECT 'epoch'::timestamptz $$")
    switches = run(
        "SELECT name, reset_val, CASE vartype WHEN 'bool' THEN '{on,off}' ELSE enumvals END::text[] FROM pg_settings"
        " WHERE context = 'user' AND vartype IN ('bool', 'enum') AND name !~ '^transaction_'"
    )
    assert len(switches) > 50
    settings = {name: [value for value in values if value != usual] for name, usual, values in switches} | UNUSUAL
    known = {name for (name,) in run("SELECT lower(name) FROM pg_settings")}
    failures = []
    for name, values in settings.items():
        for value in values if name.lower() in known else ():
            set_for_the_database(run, name, value)
            try:
                with Store(database_url, pool_size=2, timeout=5) as store:
                    use_everything(store)
            except Exception as error:  # noqa: BLE001 (all settings that change something are reported together)
                failures.append((name, value, repr(error)))
        run(f"ALTER DATABASE {database_of(run)} RESET ALL")
    assert failures == []


def test_a_role_counts_like_a_database(database_url: str, run: Sql) -> None:
    role = f"unusual_{database_of(run)}"
    run(f"CREATE ROLE {role} LOGIN SUPERUSER")
    try:
        for name in ("DateStyle", "default_transaction_read_only", "client_encoding", "search_path", *TIMEOUTS):
            run(f"ALTER ROLE {role} SET {name} = {sql.Literal(UNUSUAL[name][0]).as_string()}")
        with Store(make_conninfo(database_url, user=role), pool_size=2, timeout=5) as store:
            use_everything(store)
    finally:
        run(f"DROP ROLE {role}")


def test_a_database_with_unusual_settings_is_migrated_as_any_other(
    empty_database_url: str,
) -> None:
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        name = connection.info.dbname
        known = {row[0] for row in connection.execute("SELECT lower(name) FROM pg_settings")}
        for setting in set(UNUSUAL) - {"transform_null_equals", "exit_on_error"}:
            if setting.lower() not in known:  # of a later PostgreSQL
                continue
            quoted = sql.Literal(UNUSUAL[setting][0]).as_string()
            connection.execute(f"ALTER DATABASE {name} SET {setting} = {quoted}")  # type: ignore[arg-type]
    upgrade(empty_database_url)
    require_current(empty_database_url)
    with Store(empty_database_url, pool_size=2, timeout=5) as store:
        use_everything(store)


def database_of(run: Sql) -> str:
    [(name,)] = run("SELECT current_database()::text")
    return str(name)


def set_for_the_database(run: Sql, name: str, value: str) -> None:
    run(f"ALTER DATABASE {database_of(run)} SET {name} = {sql.Literal(value).as_string()}")


def test_commands_print_what_they_do_otherwise(database_url: str, run: Sql, store: Store, susy: Susy) -> None:
    check_id = str(done(store).check_id)
    arguments = [("show", check_id, "--json"), ("backlog", "status", "--json"), ("backlog", "retry", "--all", "--yes")]
    usual = [susy(*each, SUSY_DATABASE_URL=database_url) for each in arguments]
    for name in ("DateStyle", "IntervalStyle", "client_encoding", "default_transaction_read_only"):
        set_for_the_database(run, name, UNUSUAL[name][0])
    for each, expected in zip(arguments, usual, strict=True):
        result = susy(*each, SUSY_DATABASE_URL=database_url)
        assert (result.code, result.stdout) == (expected.code, expected.stdout), result.stderr


def test_startup_parameters_are_used_only_where_a_timeout_requires_them(
    database_url: str, run: Sql, proxy: PostgresProxy
) -> None:
    """Poolers such as PgBouncer refuse connections with parameters that they do not know."""
    proxy.refuses_options = True
    with Store(proxy.url, pool_size=2, timeout=5) as store:
        use_everything(store)
    set_for_the_database(run, "statement_timeout", "1ms")
    with Store(proxy.url, pool_size=2, timeout=5) as store, pytest.raises(TransientError) as caught:
        store.status()
    assert "statement timeout" in caught.value.message


def test_options_of_the_url_are_kept(database_url: str, run: Sql) -> None:
    set_for_the_database(run, "statement_timeout", "1ms")
    url = make_conninfo(database_url, options="-c work_mem=77kB")
    with Store(url, pool_size=1, timeout=5) as store:
        assert store._database.scalars("SHOW work_mem", {}) == ["77kB"]
        assert store._database.scalars("SHOW statement_timeout", {}) == ["30s"]
