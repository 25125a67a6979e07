"""Whoever can write to Redis cannot control workers: they listen to no broadcast."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest
import redis

from schema.states import CheckState
from tests.support.commands import CELERY, Process, Processes
from worker.client import Client
from worker.queue.celery_app import make_app
from worker.settings import Settings
from worker.store import CheckDetails

COMMANDS = ["shutdown", "pool_shrink", "cancel_consumer", "rate_limit", "revoke", "enable_events", "ping", "report"]
GARBAGE = [
    b"5",
    b"null",
    b"[]",
    b"{}",
    b'"text"',
    b"\xff",
    b"{",
    b'{"properties": {}}',
    b'{"body": 1, "properties": 2}',
]


def _plain(processes: Processes) -> Process:
    """Celery's own command, by which gossip, mingle and events would be on."""
    return processes.fork(CELERY, "-A", "susy_worker.celery", "worker", "-E").ready()


@pytest.mark.parametrize("start", [Processes.start_worker, _plain], ids=["susy worker", "celery worker -E"])
def test_a_worker_obeys_no_broadcast_and_survives_what_is_no_message(
    start: Callable[[Processes], Process],
    processes: Processes,
    settings: Settings,
    images: Path,
    ended: Callable[[UUID], CheckDetails],
    redis_url: str,
) -> None:
    worker = start(processes)
    with make_app(settings) as app, redis.Redis.from_url(redis_url) as client:
        assert client.pubsub_channels() == []
        assert client.pubsub_numpat() == 0
        for command in COMMANDS:
            assert app.control.broadcast(command, {"queue": "live", "n": 9}, reply=True, timeout=0.2) == []
        for channel in ("celery.pidbox", "celeryev/worker.heartbeat", "celeryev"):
            for body in GARBAGE:
                client.publish(f"{settings.key_prefix}/{client.get_connection_kwargs()['db']}.{channel}", body)
        time.sleep(1)
        with Client(settings) as submitter:
            check_id = submitter.submit(source="s", uri=str(images / "a.png")).check_id
        assert ended(check_id).state is CheckState.DONE
        names = {key.decode().removeprefix(settings.key_prefix) for key in client.keys("*")}
        assert all("pidbox" not in name or "reply" in name for name in names), json.dumps(sorted(names))
    assert worker.poll() is None
    assert "Traceback" not in worker.output()
