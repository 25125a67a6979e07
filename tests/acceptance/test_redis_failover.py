"""Redis as a managed service behaves: a failover moves the address or the role, and rights change for a while."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID

import pytest

from schema.states import CheckState
from tests.support.checkout import CHECKOUT
from tests.support.commands import SUSY, Processes
from tests.support.servers import Valkey
from tests.support.tcp_proxy import TcpProxy
from worker.client import Client
from worker.settings import Settings
from worker.store import Store

WITHOUT_RESTART = 60.0
"""Seconds within which a worker takes checks again, once there is a primary (docs/guarantees.md)."""


@pytest.fixture
def primary(tmp_path: Path) -> Iterator[Valkey]:
    server = Valkey(tmp_path / "primary")
    yield server
    server.kill()


@pytest.fixture
def standby(tmp_path: Path, primary: Valkey) -> Iterator[Valkey]:
    server = Valkey(tmp_path / "standby")
    with server.client() as client:
        client.replicaof("127.0.0.1", primary.port)
    yield server
    server.kill()


@pytest.fixture
def proxy(primary: Valkey) -> Iterator[TcpProxy]:
    proxy = TcpProxy(primary.port)
    yield proxy
    proxy.close()


@pytest.fixture
def processes(proxy: TcpProxy, processes: Processes) -> Processes:
    """Ended before the proxy closes, so that nothing connects to it meanwhile."""
    return processes


@pytest.fixture
def done_within(
    settings: Settings, processes: Processes, store: Store, images: Path, proxy: TcpProxy
) -> Callable[[], float]:
    """Submit an image through Redis at the proxy's address; the seconds until its check is done."""
    url = f"redis://127.0.0.1:{proxy.port}/0"
    processes.variables["SUSY_REDIS_URL"] = url
    client = Client(settings.model_copy(update={"redis_url": url}))

    def submit() -> float:
        check_id: UUID = client.submit(source="test", uri=str(images / "a.png")).check_id
        began = time.monotonic()
        processes.eventually(lambda: store.show(check_id).state is CheckState.DONE)
        return time.monotonic() - began

    return submit


@pytest.mark.parametrize("connections", ["reset", "left open"])
def test_a_worker_follows_the_address_to_the_new_primary(
    processes: Processes,
    done_within: Callable[[], float],
    primary: Valkey,
    standby: Valkey,
    proxy: TcpProxy,
    connections: str,
) -> None:
    worker, reconciler = processes.start_worker(), processes.start_reconciler()
    done_within()
    with primary.client() as old, standby.client() as new:
        new.replicaof("NO", "ONE")
        old.replicaof("127.0.0.1", standby.port)
        time.sleep(3)  # for a while the address still leads to the old one, which refuses every write
        proxy.move(standby.port)
        if connections == "reset":
            proxy.reset()
    assert done_within() < WITHOUT_RESTART
    assert (worker.poll(), reconciler.poll()) == (None, None), processes.output()


def test_a_worker_outlives_a_primary_that_is_a_replica_for_a_while(
    processes: Processes, done_within: Callable[[], float], primary: Valkey, standby: Valkey
) -> None:
    worker = processes.start_worker()
    done_within()
    with primary.client() as old:
        old.replicaof("127.0.0.1", standby.port)  # UNBLOCKED for whoever waits, READONLY for whoever comes
        time.sleep(4)
        assert worker.poll() is None, processes.output()
        old.replicaof("NO", "ONE")
    assert done_within() < WITHOUT_RESTART
    assert worker.poll() is None, processes.output()
    assert processes.output().count("\n") < 200, "an outage is a few log lines"


@pytest.mark.parametrize("rule", ["-brpop", "-@all +auth +ping", "-zadd", "-hset", "off"])
def test_a_worker_outlives_rights_that_are_taken_and_given_back(
    processes: Processes, done_within: Callable[[], float], primary: Valkey, proxy: TcpProxy, rule: str
) -> None:
    with primary.client() as admin:
        admin.execute_command("ACL SETUSER operator on nopass ~* &* +@all")
    worker = processes.start_worker()
    done_within()
    with primary.client() as connection:
        connection.execute_command("AUTH", "operator", "")
        connection.execute_command("ACL SETUSER default", *rule.split())
        proxy.reset()
        time.sleep(3)
        assert worker.poll() is None, processes.output()
        connection.execute_command("ACL SETUSER default on nopass ~* &* +@all")
    assert done_within() < WITHOUT_RESTART
    assert worker.poll() is None, processes.output()


def test_a_worker_that_celery_ends_by_an_error_exits_with_1(processes: Processes, proxy: TcpProxy) -> None:
    """Whatever it is that Celery cannot recover from: a supervisor starts again only what failed."""
    (processes.folder / "sitecustomize.py").write_text(
        "import celery.worker.consumer.tasks as tasks\n"
        "def broken(self, c): raise RuntimeError('cannot be recovered from')\n"
        "tasks.Tasks.start = broken\n"
    )
    path = f"{processes.folder}:{CHECKOUT}"
    worker = processes.spawn(*SUSY, "worker", PYTHONPATH=path)
    assert worker.wait(60) == 1, processes.output()


def test_a_client_with_a_connection_to_the_former_primary_publishes_to_the_new_one(
    settings: Settings, primary: Valkey, standby: Valkey, proxy: TcpProxy, images: Path
) -> None:
    with Client(settings.model_copy(update={"redis_url": f"redis://127.0.0.1:{proxy.port}/0"})) as client:
        client.submit(source="test", uri=str(images / "a.png"))
        with primary.client() as old, standby.client() as new:
            new.replicaof("NO", "ONE")
            old.replicaof("127.0.0.1", standby.port)
            proxy.move(standby.port)
            before = new.llen(f"{settings.key_prefix}live")
            client.submit(source="test", uri=str(images / "a.png"))
            assert new.llen(f"{settings.key_prefix}live") == before + 1
