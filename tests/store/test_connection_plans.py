"""Sessions that keep the plans of the statements of one check, and plan all others for their values."""

from __future__ import annotations

from dataclasses import replace

import psycopg
import pytest

from schema.states import Lane
from tests.support.databases import Sql
from tests.support.ledger import SCAN, claimed, done, examination, submission
from tests.support.waiting import eventually
from worker.store import Store
from worker.store.connection import Plans

SETTINGS = ("plan_cache_mode", "enable_seqscan", "enable_hashjoin", "enable_mergejoin", "jit")
PLAN = "SELECT string_agg(current_setting(name), ' ' ORDER BY name) FROM unnest(%s::text[]) AS name"
SCANS = "SELECT seq_scan FROM pg_stat_user_tables WHERE schemaname = 'susy' AND relname = ANY (%s) ORDER BY relname"
LARGE = ["checks", "events", "review_items", "reviews", "scans", "verdicts"]
FILL = (
    "INSERT INTO susy.checks (id, source, external_id, uri, lane)"
    " SELECT gen_random_uuid(), 'flood', i::text, '/1.jpg', 'backfill' FROM generate_series(1, %s) AS i"
)


def settings(store: Store, plans: Plans) -> tuple[str, ...]:
    with store._database.connection(plans=plans) as connection:
        [(found,)] = connection.execute(PLAN, [list(SETTINGS)]).fetchall()
    return tuple(found.split())


def test_a_session_changes_how_it_plans_and_back_to_what_the_server_sets(database_url: str, run: Sql) -> None:
    [(database,)] = run("SELECT quote_ident(current_database())")
    run(f"ALTER DATABASE {database} SET enable_mergejoin = off")
    with Store(database_url, pool_size=1) as store:
        usual = settings(store, Plans.PER_CALL)
        kept = settings(store, Plans.KEPT)
        assert settings(store, Plans.KEPT) == kept
        assert settings(store, Plans.PER_CALL) == usual
    names = sorted(SETTINGS)
    assert dict(zip(names, kept, strict=True)) == {
        "enable_hashjoin": "off",
        "enable_mergejoin": "off",
        "enable_seqscan": "off",
        "jit": "off",
        "plan_cache_mode": "force_generic_plan",
    }
    assert dict(zip(names, usual, strict=True)) | {"jit": ""} == {
        "enable_hashjoin": "on",
        "enable_mergejoin": "off",
        "enable_seqscan": "on",
        "jit": "",
        "plan_cache_mode": "force_custom_plan",
    }


def test_a_plan_that_was_made_for_an_empty_ledger_reads_no_large_table_from_end_to_end(
    database_url: str, run: Sql
) -> None:
    def life(store: Store, number: int) -> None:
        receipt = store.submit(submission(external_id=f"upload-{number}"))
        store.submit(submission(external_id=f"upload-{number}"))
        store.mark_dispatched([receipt.check_id])
        claim = store.claim(receipt.check_id, worker="worker-1", lease=60, max_attempts=5)
        assert claim is not None
        store.renew([claim], 60)
        scan = replace(SCAN, content_sha256=f"{number:064x}")
        assert store.find_scan(scan.content_sha256, scan.model, scan.tiling) is None
        store.record(claim, examination(scan))

    def scans() -> list[int]:
        run("SELECT pg_stat_force_next_flush()")
        return [count for (count,) in run(SCANS, LARGE)]

    with Store(database_url, pool_size=1) as store:
        for number in range(3):
            life(store, number)
        run(FILL, 5000)
    # The session's counts arrive when it ends.
    with Store(database_url, pool_size=1) as store:
        for number in range(3, 6):
            life(store, number)
        before = scans()
        run(FILL.replace("'flood'", "'more'"), 5000)
        for number in range(6, 20):
            life(store, number)
    eventually(lambda: run("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'susy-worker'") == [(0,)])
    assert len(before) == len(LARGE)
    assert scans() == before


def test_statements_that_choose_among_many_checks_are_planned_for_their_lane(store: Store, run: Sql) -> None:
    run("INSERT INTO susy.paused_lanes (lane) VALUES ('live')")
    claimed(store, lane=Lane.BACKFILL)
    run(FILL, 2000)
    run("ANALYZE susy.checks")
    before = run("SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = 'ix_checks_waiting_backfill'")
    for _ in range(8):
        assert len(store.take_due(Lane.BACKFILL, limit=5)) == 5
    run("SELECT pg_stat_force_next_flush()")
    store.close()
    eventually(
        lambda: (
            run("SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = 'ix_checks_waiting_backfill'") > before
        )
    )


@pytest.mark.parametrize("pause", [0.0, 0.7])
def test_a_connection_that_the_server_ended_is_replaced_unnoticed(store: Store, run: Sql, pause: float) -> None:
    for _ in range(5):
        done(store, content="d" * 64)
        run("SELECT pg_sleep(%s)", pause)
        run(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name = 'susy-worker'"
        )
        store.submit(submission())


def test_a_busy_connection_is_not_asked_before_every_statement(store: Store, database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as watch:

        def asked() -> bool:
            query = "SELECT bool_or(query LIKE 'SHOW%%') FROM pg_stat_activity WHERE application_name = 'susy-worker'"
            return watch.execute(query).fetchall() == [(True,)]

        store.ping()
        with store._database.connection():
            assert not asked()
        watch.execute("SELECT pg_sleep(0.7)")
        with store._database.connection():
            assert asked()
