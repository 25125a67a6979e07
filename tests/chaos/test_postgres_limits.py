"""More connections are wanted than Postgres gives: a role's limit, or all connections of the server."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from tests.chaos.deployment import Deployment, enough, require_few_lines
from tests.support.waiting import eventually
from worker.errors import ErrorCode, TransientError
from worker.store import Store

ROLE = "susy_test_ordinary"
"""Limits do not hold for superusers."""
TAKEN_SECONDS = 8.0
MAX_LINES = 60
"""Of one process, without one line per check."""


@pytest.fixture
def ordinary(deployment: Deployment) -> Iterator[str]:
    """The URL for the ordinary role."""
    deployment.sql(f"CREATE ROLE {ROLE} LOGIN")
    deployment.sql(f"GRANT USAGE ON SCHEMA susy TO {ROLE}")
    deployment.sql(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA susy TO {ROLE}")
    url = make_conninfo(deployment.database_url, user=ROLE)
    deployment.through["SUSY_DATABASE_URL"] = url
    yield url
    for process in deployment.started:
        process.kill()
    deployment.sql(f"DROP OWNED BY {ROLE}")
    deployment.sql(f"DROP ROLE {ROLE}")


def _check(deployment: Deployment) -> None:
    outcome = deployment.verify()
    assert outcome.quarantined == 0
    assert not [process for process in deployment.started if process.poll() is not None]
    require_few_lines(deployment.started, MAX_LINES)


@contextmanager
def _taken(url: str) -> Iterator[None]:
    """All connections that the server gives, and each that becomes free meanwhile."""
    taken: list[psycopg.Connection] = []
    stopped = threading.Event()

    def take() -> None:
        while not stopped.is_set():
            try:
                taken.append(psycopg.connect(url))
            except psycopg.OperationalError:
                stopped.wait(0.01)

    thread = threading.Thread(target=take)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()
        for connection in taken:
            connection.close()


@pytest.mark.parametrize("limit", [3, 5])
def test_a_role_with_few_connections_for_two_workers_and_a_reconciler(
    deployment: Deployment, ordinary: str, limit: int
) -> None:
    deployment.sql(f"ALTER ROLE {ROLE} CONNECTION LIMIT {limit}")
    for _ in range(2):
        deployment.worker(CHAOS_SECONDS="0.02", SUSY_CONCURRENCY="8")
    deployment.reconciler()
    deployment.submit(enough(60))
    _check(deployment)


def test_all_connections_of_the_server_taken_under_load(deployment: Deployment, ordinary: str) -> None:
    deployment.reconciler()
    deployment.ready_worker(CHAOS_SECONDS="0.05", SUSY_CONCURRENCY="4")
    deployment.submit(enough(40))
    eventually(lambda: deployment.count("state = 'done'") > 0, 60, deployment.logs)
    with _taken(ordinary):
        time.sleep(1)
        deployment.submit(enough(20))
        deployment.worker(CHAOS_SECONDS="0.05")  # one that finds it so
        with Store(ordinary, pool_size=1) as store:
            began = time.monotonic()
            with pytest.raises(TransientError) as refused:
                store.status()
            assert time.monotonic() - began < 10
        assert refused.value.code is ErrorCode.DATABASE_UNAVAILABLE
        assert "slots" in refused.value.message
        time.sleep(TAKEN_SECONDS)
    deployment.submit(enough(20))
    _check(deployment)
