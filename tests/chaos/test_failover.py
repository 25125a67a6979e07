"""Postgres fails over under load: upload hooks, workers and the reconciler resume without a restart."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from tests.chaos.deployment import Deployment
from tests.support.replication import Replicated, replicated
from tests.support.tcp_proxy import TcpProxy
from tests.support.waiting import eventually
from worker.client import Client
from worker.errors import TransientError
from worker.settings import load_settings
from worker.store.migrate import upgrade

PROMISED = 60.0
"""Seconds from the moment at which the new primary can be reached."""
ON_THE_STANDBY = 20.0
"""Seconds for which the address still leads to the former primary."""


@pytest.fixture
def servers() -> Iterator[Replicated]:
    with replicated() as servers:
        yield servers


@pytest.fixture
def chaos_database(servers: Replicated) -> str:
    """Instead of a database of the shared server."""
    upgrade(servers.primary.url())
    return servers.primary.url()


class Hook:
    """An upload hook: submits one image after another, each again until it is accepted."""

    def __init__(self, deployment: Deployment, database_url: str) -> None:
        self._deployment = deployment
        self._settings = load_settings(database_url=database_url, redis_url=deployment.valkey.url)
        self._stopped = threading.Event()
        self.accepted_at = 0.0
        """`time.monotonic()` of the latest success."""
        self.refused = 0
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        images = self._deployment.images
        with Client(self._settings, pool_size=4) as client:
            number = 0
            while not self._stopped.wait(0.1):
                try:
                    receipt = client.submit(source="chaos", external_id=str(number), uri=str(images.path(number)))
                except TransientError:
                    self.refused += 1
                    continue
                self._deployment.expected[receipt.check_id] = images.score(number, None)
                self.accepted_at = time.monotonic()
                number += 1


@pytest.fixture
def moved(servers: Replicated) -> Iterator[TcpProxy]:
    """An address that leads to the primary until it is moved."""
    proxy = TcpProxy(servers.primary.port)
    yield proxy
    proxy.close()


def test_an_address_that_moves_to_the_new_primary(deployment: Deployment, servers: Replicated, moved: TcpProxy) -> None:
    url = f"postgresql://postgres@127.0.0.1:{moved.port}/postgres"

    def fail_over() -> None:
        servers.fail_over()
        time.sleep(ON_THE_STANDBY)
        moved.move(servers.primary.port)

    resume(deployment, servers, url, fail_over)


def test_a_url_with_both_servers(deployment: Deployment, servers: Replicated) -> None:
    addresses = f"{servers.primary.address},{servers.standby.address}"
    url = f"postgresql://postgres@{addresses}/postgres?target_session_attrs=read-write"
    resume(deployment, servers, url, servers.fail_over)


def resume(deployment: Deployment, servers: Replicated, url: str, fail_over) -> None:  # type: ignore[no-untyped-def]
    deployment.through = {"SUSY_DATABASE_URL": url}
    processes = [deployment.reconciler(), *(deployment.ready_worker(CHAOS_SECONDS="0.3") for _ in range(2))]
    hook = Hook(deployment, url)
    try:
        eventually(lambda: deployment.count("state = 'done'") > 5, 60, deployment.logs)
        fail_over()
        reachable = time.monotonic()
        deployment.database_url = servers.primary.url()
        [(reachable_at,)] = deployment.sql("SELECT clock_timestamp()")
        eventually(lambda: hook.accepted_at > reachable, PROMISED, deployment.logs)
        # Never published by whoever accepts them: the reconciler has to.
        unpublished = deployment.submit(3, publish=False)
        done = "SELECT count(*) FROM susy.checks WHERE state = 'done' AND "
        eventually(lambda: deployment.sql(done + "id = ANY(%s)", unpublished) == [(3,)], PROMISED, deployment.logs)
        assert time.monotonic() - reachable < PROMISED
    finally:
        hook.stop()
    first = "SELECT extract(epoch FROM min({}) - %s)::float FROM susy.checks WHERE {} > %s"
    for what, column in (("submitted", "created_at"), ("claimed", "started_at"), ("done", "finished_at")):
        [(seconds,)] = deployment.sql(first.format(column, column), reachable_at, reachable_at)
        print(f"first {what} {seconds:.1f} s after the new primary could be reached")
    outcome = deployment.verify()
    assert outcome.quarantined == 0
    assert [process.poll() for process in processes] == [None] * 3, "nothing had to be started again"
