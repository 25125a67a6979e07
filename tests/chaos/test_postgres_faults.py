"""A Postgres whose administrator ends sessions, limits connections, or changes settings under a running deployment."""

from __future__ import annotations

import time
from collections.abc import Callable

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from tests.chaos.deployment import Deployment, enough, require_few_lines
from tests.support.waiting import eventually

FAULT_SECONDS = 5.0
MAX_LINES = 60
"""Of one process, without one line per check."""
SETTINGS = [
    "statement_timeout = 200",
    "lock_timeout = 1",
    "idle_session_timeout = 200",
    "idle_in_transaction_session_timeout = 1",
    "default_transaction_read_only = on",
    "default_transaction_isolation = serializable",
]
OTHERS = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
END_SESSIONS = f"SELECT pg_terminate_backend(pid) {OTHERS}"


def _end_sessions(deployment: Deployment, _database: str) -> None:
    until = time.monotonic() + FAULT_SECONDS
    while time.monotonic() < until:
        deployment.sql(END_SESSIONS)
        time.sleep(0.05)


def _cancel_statements(deployment: Deployment, _database: str) -> None:
    until = time.monotonic() + FAULT_SECONDS
    while time.monotonic() < until:
        deployment.sql(f"SELECT pg_cancel_backend(pid) {OTHERS}")
        time.sleep(0.02)


def _change_settings(deployment: Deployment, database: str) -> None:
    """Sessions that begin meanwhile have settings under which nothing would work, if the store did not set its own."""
    with psycopg.connect(deployment.database_url, autocommit=True) as administrator:
        for setting in SETTINGS:
            administrator.execute(f"ALTER DATABASE {database} SET {setting}")  # type: ignore[arg-type]
        administrator.execute(END_SESSIONS)  # type: ignore[arg-type]
        deployment.submit(enough(20))
        waiting = "SELECT count(*) FROM susy.checks WHERE state IN ('queued', 'running')"
        eventually(lambda: administrator.execute(waiting).fetchall() == [(0,)], 60, deployment.logs)
        time.sleep(FAULT_SECONDS)
        administrator.execute(f"ALTER DATABASE {database} RESET ALL")  # type: ignore[arg-type]


FAULTS: dict[str, Callable[[Deployment, str], None]] = {
    "ended sessions": _end_sessions,
    "cancelled statements": _cancel_statements,
    "changed settings": _change_settings,
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_postgres_that_is_administered_under_load(
    deployment: Deployment, fault: Callable[[Deployment, str], None]
) -> None:
    reconciler = deployment.reconciler()
    workers = [deployment.ready_worker(CHAOS_SECONDS="0.05", SUSY_MAX_ATTEMPTS="20") for _ in range(2)]
    deployment.submit(enough(60))
    eventually(lambda: deployment.count("state = 'done'") > 0, 60, deployment.logs)
    fault(deployment, str(conninfo_to_dict(deployment.database_url)["dbname"]))
    deployment.submit(enough(20))
    outcome = deployment.verify()
    assert outcome.quarantined == 0
    assert not [process for process in (reconciler, *workers) if process.poll() is not None]
    require_few_lines((reconciler, *workers), MAX_LINES)
