"""Health checks, asked of real servers and a real worker."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest
import redis

from tests.support.commands import Processes, Susy
from worker.queue.consumer import PRESENCE_EXPIRES

WORKER = (
    "from worker.queue.celery_app import make_app\n"
    "from worker.settings import load_settings\n"
    "make_app(load_settings()).worker_main(['worker', '--without-gossip', '--without-mingle'])\n"
)


@pytest.fixture
def command_variables(database_url: str, redis_url: str) -> dict[str, str]:
    return {"SUSY_DATABASE_URL": database_url, "SUSY_REDIS_URL": redis_url}


def test_a_reconciler_is_healthy_while_its_servers_answer(susy: Susy) -> None:
    assert susy("health", "reconciler").code == 0


def test_a_worker_is_healthy_while_it_reports(susy: Susy, processes: Processes, redis_url: str) -> None:
    assert susy("health", "worker").code == 1
    worker = processes.spawn(sys.executable, "-c", WORKER)
    worker.eventually(lambda: susy("health", "worker").code == 0)
    worker.terminate()
    worker.wait()
    with redis.Redis.from_url(redis_url) as client:
        [report] = client.keys("susy:worker:*")
        assert 0 < client.ttl(report) <= PRESENCE_EXPIRES
        client.delete(report)
    assert susy("health", "worker").code == 1


def test_a_worker_is_alive_while_it_touches_its_file_whatever_its_servers_do(susy: Susy, tmp_path: Path) -> None:
    path = tmp_path / "alive"
    assert susy("health", "alive").code == 1
    assert susy("health", "alive", SUSY_ALIVE_FILE=str(path)).code == 1
    path.touch()
    assert susy("health", "alive", SUSY_ALIVE_FILE=str(path)).code == 0
    long_ago = time.time() - 61
    os.utime(path, (long_ago, long_ago))
    assert susy("health", "alive", SUSY_ALIVE_FILE=str(path)).code == 1


@pytest.mark.parametrize("probe", ["worker", "reconciler"])
def test_servers_that_are_away_are_unhealthy_and_no_password_is_printed(probe: str, susy: Susy) -> None:
    away = {
        "SUSY_DATABASE_URL": "postgresql://susy:hunter2@127.0.0.1:1/susy",
        "SUSY_REDIS_URL": "redis://:hunter2@127.0.0.1:1/0",
    }
    result = susy("health", probe, **away)
    assert result.code == 1
    assert "hunter2" not in result.stdout + result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_wrong_usage_is_told_apart(susy: Susy) -> None:
    assert susy("health").code == susy("health", "other").code == 2
