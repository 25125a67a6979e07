"""A worker whose database user loses a privilege waits for it, and loses nothing."""

from __future__ import annotations

import time

import pytest
from psycopg.conninfo import conninfo_to_dict

from tests.chaos.deployment import Deployment, enough
from tests.support.waiting import eventually

ROLE = "susy_test_limited"
ALL = "SELECT, INSERT, UPDATE, DELETE"


@pytest.fixture
def limited(deployment: Deployment) -> Deployment:
    """The deployment's sessions act as a role that owns nothing."""
    database = conninfo_to_dict(deployment.database_url)["dbname"]
    if deployment.sql("SELECT count(*) FROM pg_roles WHERE rolname = %s", ROLE) == [(0,)]:
        deployment.sql(f"CREATE ROLE {ROLE} NOLOGIN")
    deployment.sql(f"GRANT USAGE ON SCHEMA susy TO {ROLE}")
    deployment.sql(f"GRANT {ALL} ON ALL TABLES IN SCHEMA susy TO {ROLE}")
    deployment.sql(f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA susy TO {ROLE}")
    deployment.sql(f"ALTER DATABASE {database} SET role = '{ROLE}'")
    return deployment


@pytest.mark.parametrize(
    ("privilege", "table"),
    [
        ("INSERT", "verdicts"),
        ("INSERT", "scans"),
        ("SELECT", "scans"),
        ("UPDATE", "checks"),
        ("SELECT", "paused_lanes"),
    ],
)
def test_a_privilege_that_is_revoked_under_load_is_waited_for(limited: Deployment, privilege: str, table: str) -> None:
    workers = [limited.ready_worker(), limited.ready_worker()]
    limited.reconciler()
    limited.submit(enough(20))
    eventually(lambda: limited.count("state = 'done'") >= 5, 60, limited.logs)
    as_owner = "SET ROLE NONE;"
    limited.sql(f"{as_owner} REVOKE {privilege} ON susy.{table} FROM {ROLE}")
    _submit(limited, enough(20))
    eventually(lambda: any("lacks a privilege" in worker.output() for worker in workers), 60, limited.logs)
    time.sleep(6)  # several leases
    assert limited.count("state = 'quarantined'") == 0
    limited.sql(f"{as_owner} GRANT {privilege} ON susy.{table} TO {ROLE}")
    outcome = limited.verify()
    assert outcome.quarantined == 0
    for worker in workers:
        assert worker.poll() is None
        assert "Traceback" not in worker.output()
        assert worker.output().count("service_unavailable") <= 12, worker.output()


def _submit(deployment: Deployment, count: int) -> None:
    """Past the revoked privilege, as another user's upload service."""
    database = conninfo_to_dict(deployment.database_url)["dbname"]
    deployment.sql(f"SET ROLE NONE; ALTER DATABASE {database} RESET role")
    deployment.submit(count)
    deployment.sql(f"ALTER DATABASE {database} SET role = '{ROLE}'")
