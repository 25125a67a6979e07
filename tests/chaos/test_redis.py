"""Redis that dies, forgets, falls silent or hangs up."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.deployment import Deployment, enough
from tests.support.servers import Valkey
from tests.support.tcp_proxy import TcpProxy
from tests.support.waiting import eventually

WITHOUT_RESTART = 60.0
"""Seconds within which a worker is at work again, once a service is back."""


@pytest.fixture
def proxied(deployment: Deployment) -> Iterator[TcpProxy]:
    """A way to Redis that can be broken; workers and reconcilers take it."""
    proxy = TcpProxy(deployment.valkey.port)
    deployment.through = {"SUSY_REDIS_URL": f"redis://127.0.0.1:{proxy.port}/0"}
    yield proxy
    deployment.close()
    proxy.close()


@pytest.mark.parametrize("append_only", [True, False], ids=["with its log", "without a log"])
def test_redis_killed_and_started_again(deployment: Deployment, tmp_path: Path, append_only: bool) -> None:
    deployment.valkey.kill()
    deployment.valkey = Valkey(tmp_path / "another", append_only=append_only)
    deployment.reconciler()
    workers = [deployment.ready_worker(CHAOS_SECONDS="0.05") for _ in range(2)]
    for _ in range(2):
        deployment.submit(enough(25))
        deployment.valkey.kill()
        time.sleep(1)
        deployment.valkey.start()
    assert deployment.verify().quarantined == 0
    assert [worker.poll() for worker in workers] == [None, None], "no worker had to be started again"


def test_redis_emptied_with_flushall_under_load(deployment: Deployment) -> None:
    deployment.reconciler()
    deployment.ready_worker(CHAOS_SECONDS="0.5")  # so slow that messages wait when they are lost
    with deployment.valkey.client() as client:
        for _ in range(3):
            deployment.submit(enough(20))
            assert client.llen("susy:live") > 0
            client.flushall()
        assert deployment.verify().quarantined == 0


def test_redis_connections_that_are_half_open_are_noticed(deployment: Deployment, proxied: TcpProxy) -> None:
    deployment.reconciler()
    workers = [deployment.ready_worker() for _ in range(2)]
    assert proxied.silence() > 0
    began = time.monotonic()
    deployment.submit(enough(20))
    deployment.settle()
    assert time.monotonic() - began < WITHOUT_RESTART
    deployment.verify()
    assert [worker.poll() for worker in workers] == [None, None]


def test_redis_hanging_up_in_the_middle_of_tasks(deployment: Deployment, proxied: TcpProxy) -> None:
    deployment.reconciler()
    worker = deployment.ready_worker(CHAOS_SECONDS="0.7")
    deployment.submit(enough(40))
    for _ in range(3):
        eventually(lambda: deployment.count("state = 'running'") > 0)
        proxied.reset()
        time.sleep(1.5)
    outcome = deployment.verify()
    assert worker.poll() is None
    assert outcome.most_attempts == 1, "what was running went on; nothing was tried twice"


def test_submitting_while_redis_is_down(deployment: Deployment) -> None:
    deployment.reconciler()
    worker = deployment.ready_worker()
    deployment.valkey.kill()
    began = time.monotonic()
    deployment.submit(enough(10))
    assert (time.monotonic() - began) / enough(10) < 2, "accepted without waiting for Redis"
    deployment.valkey.start()
    back = time.monotonic()
    deployment.settle()
    assert time.monotonic() - back < WITHOUT_RESTART
    deployment.verify()
    assert worker.poll() is None
    assert worker.output().count("Cannot connect to") <= 1, "said once, not at every try"
