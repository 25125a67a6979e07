"""A Redis that answers with errors: no memory, no disk, another password, keys of another type, broken bookkeeping."""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from redis import Redis

from schema.messages import SUBMIT_QUEUE, SUBMIT_TASK
from tests.chaos.deployment import Deployment, enough, require_few_lines, supervised
from tests.support.waiting import eventually
from worker.queue.messages import envelope

Fault = Callable[[Redis, Path], contextlib.AbstractContextManager[None]]
FAULT_SECONDS = 6.0
"""Longer than most waits between two attempts."""
MAX_LINES = 60
"""Of one process, with its start and the outage; without one line per check."""


@contextmanager
def _no_memory(client: Redis, _folder: Path) -> Iterator[None]:
    client.config_set("maxmemory-policy", "noeviction")
    client.config_set("maxmemory", 1)
    yield
    client.config_set("maxmemory", 0)


@contextmanager
def _no_disk(client: Redis, folder: Path) -> Iterator[None]:
    """Its last background save failed, so that it refuses writes."""
    client.config_set("save", "1 1")
    shutil.rmtree(folder)
    client.bgsave()
    eventually(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err", 10)
    yield
    client.config_set("stop-writes-on-bgsave-error", "no")
    client.config_set("save", "")


@contextmanager
def _another_password(client: Redis, _folder: Path) -> Iterator[None]:
    client.config_set("requirepass", "another")
    client.client_kill_filter(_type="normal", skipme=True)
    yield
    client.config_set("requirepass", "")


@contextmanager
def _hanging_up(client: Redis, _folder: Path) -> Iterator[None]:
    until = time.monotonic() + FAULT_SECONDS
    while time.monotonic() < until:
        client.client_kill_filter(_type="normal", skipme=True)
        time.sleep(0.05)
    yield


def _wrong_type(*names: str) -> Fault:
    @contextmanager
    def fault(client: Redis, _folder: Path) -> Iterator[None]:
        for name in names:
            client.set(f"susy:{name}", "not a list")
        yield
        client.delete(*(f"susy:{name}" for name in names))

    return fault


FAULTS: dict[str, Fault] = {
    "no memory": _no_memory,
    "no disk": _no_disk,
    "another password": _another_password,
    "hanging up": _hanging_up,
    "a lane of another type": _wrong_type("live", "submit"),
    "bookkeeping of another type": _wrong_type("unacked", "unacked_index", "unacked_mutex"),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_redis_that_answers_with_errors_under_load(deployment: Deployment, tmp_path: Path, fault: Fault) -> None:
    reconciler = deployment.reconciler()
    with supervised(deployment, 2, CHAOS_SECONDS="0.02", SUSY_VISIBILITY_TIMEOUT="70") as supervisor:
        for worker in supervisor.workers:
            worker.ready()
        deployment.submit(enough(20))
        with deployment.valkey.client() as client, fault(client, tmp_path / "valkey"):
            deployment.submit(enough(20))
            time.sleep(FAULT_SECONDS)
        deployment.submit(enough(20))
        outcome = deployment.verify()
    assert outcome.quarantined == 0
    assert reconciler.poll() is None
    assert 0 not in supervisor.ends, "no worker ended as if all were well"
    assert len(supervisor.ends) <= 2, deployment.logs()
    require_few_lines(deployment.started, MAX_LINES)


def test_what_cannot_be_restored_is_rejected_and_what_lies_behind_it_is_restored(deployment: Deployment) -> None:
    broken = [b"5", b"{}", b"[1, 2, 3]", b"garbage", b"\xff", b'[[], "", "live"]']
    fields = {"version": 1, "source": "chaos", "external_id": "held", "uri": str(deployment.images.path(0))}
    held = json.loads(envelope(SUBMIT_TASK, SUBMIT_QUEUE, kwargs=fields))
    with deployment.valkey.client() as client:
        for number, value in enumerate(broken):
            client.hset("susy:unacked", f"broken-{number}", value)
            client.zadd("susy:unacked_index", {f"broken-{number}": 2})
        client.zadd("susy:unacked_index", {"absent": 2})
        # A message that a killed worker held. Entries are restored from the highest score down, ten in one round.
        client.hset("susy:unacked", "held", json.dumps([held, "", SUBMIT_QUEUE]))
        client.zadd("susy:unacked_index", {"held": 1})
        worker = deployment.ready_worker()
        eventually(lambda: deployment.count("external_id = 'held' AND state = 'done'") == 1, 60, deployment.logs)
        rejected = "SELECT count(*), min(code), max(code) FROM susy.rejected_messages"
        assert deployment.sql(rejected) == [(len(broken), "invalid_message", "invalid_message")]
        assert client.hlen("susy:unacked") == client.zcard("susy:unacked_index") == 0
    assert "Traceback" not in worker.output()


def test_a_worker_started_while_keys_have_another_type_begins_once_they_are_deleted(
    deployment: Deployment, tmp_path: Path
) -> None:
    fault = _wrong_type("unacked", "unacked_index", "unacked_mutex", "live", "submit")
    with deployment.valkey.client() as client, fault(client, tmp_path):
        worker = deployment.worker()
        deployment.submit(enough(5))
        eventually(lambda: "service_unavailable" in worker.output(), 60, worker.output)
        time.sleep(FAULT_SECONDS)
    deployment.reconciler()
    deployment.verify()
    assert worker.poll() is None
    require_few_lines([worker], MAX_LINES)
