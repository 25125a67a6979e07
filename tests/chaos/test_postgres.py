"""Postgres that restarts, and connections that break at the worst moment."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.deployment import Deployment, enough
from tests.support.postgres_proxy import PostgresProxy
from tests.support.servers import Postgres
from tests.support.waiting import eventually

WITHOUT_RESTART = 60.0


@pytest.fixture
def proxied(deployment: Deployment) -> Iterator[PostgresProxy]:
    """A way to Postgres that can be broken; workers take it."""
    proxy = PostgresProxy(deployment.database_url)
    yield proxy
    deployment.close()
    proxy.close()


def test_postgres_crashing_and_restarting_again_and_again_under_load(
    deployment: Deployment, postgres: Postgres
) -> None:
    deployment.reconciler()
    workers = [deployment.ready_worker(CHAOS_SECONDS="0.05", SUSY_MAX_ATTEMPTS="20") for _ in range(2)]
    for mode in ["immediate", "fast"] * 2:
        deployment.submit(enough(20))
        time.sleep(1)
        postgres.restart(mode)
    back = time.monotonic()
    deployment.settle()
    assert time.monotonic() - back < WITHOUT_RESTART + 10 * enough(1)
    deployment.verify()
    assert [worker.poll() for worker in workers] == [None, None], "no worker had to be started again"


@pytest.mark.parametrize("moment", ["before", "after"])
def test_the_connection_cut_at_commit(deployment: Deployment, proxied: PostgresProxy, moment: str) -> None:
    deployment.reconciler()
    deployment.ready_worker(SUSY_DATABASE_URL=proxied.url)
    cuts = 0
    for _ in range(enough(6)):
        setattr(proxied, f"cut_{moment}_commit", True)
        deployment.submit(3)
        eventually(lambda: deployment.count("state IN ('queued', 'running')") == 0, 120, deployment.logs)
        cuts += not getattr(proxied, f"cut_{moment}_commit")
    outcome = deployment.verify()
    assert cuts == enough(6), "each time a COMMIT was hit"
    assert outcome.quarantined == 0


def test_postgres_away_for_a_while_is_waited_for_and_said_once(deployment: Deployment, proxied: PostgresProxy) -> None:
    deployment.reconciler()
    worker = deployment.ready_worker(SUSY_DATABASE_URL=proxied.url, CHAOS_SECONDS="0.5", SUSY_HARD_DEADLINE="6")
    deployment.submit(enough(8))
    eventually(lambda: deployment.count("state = 'running'") > 0)
    proxied.refuse(True)
    proxied.cut()
    time.sleep(12)  # longer than the hard deadline: waiting for Postgres is not being stuck
    proxied.refuse(False)
    back = time.monotonic()
    deployment.settle()
    assert time.monotonic() - back < WITHOUT_RESTART
    deployment.verify()
    assert worker.poll() is None
    assert worker.output().count("service_unavailable") == worker.output().count("service_available") == 1


def test_a_worker_started_while_its_servers_are_away_begins_when_they_come(
    deployment: Deployment, proxied: PostgresProxy, tmp_path: Path
) -> None:
    alive = tmp_path / "alive"
    proxied.refuse(True)
    deployment.valkey.kill()
    worker = deployment.worker(SUSY_DATABASE_URL=proxied.url, SUSY_ALIVE_FILE=str(alive))
    deployment.submit(enough(5))
    eventually(lambda: "service_unavailable" in worker.output())
    assert not alive.exists()
    proxied.refuse(False)
    eventually(alive.exists, 60, worker.output)  # alive, and not ready: there is no Redis yet
    deployment.valkey.start()
    deployment.reconciler()
    deployment.verify()
    assert worker.poll() is None
