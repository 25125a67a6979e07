"""Health checks, asked of real servers and a real worker."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from worker.queue import health

WORKER = (
    "from worker.queue.celery_app import make_app\n"
    "from worker.settings import load_settings\n"
    "make_app(load_settings()).worker_main(['worker', '--without-gossip', '--without-mingle'])\n"
)


@pytest.fixture
def services(monkeypatch: pytest.MonkeyPatch, database_url: str, redis_url: str) -> None:
    monkeypatch.setenv("SUSY_DATABASE_URL", database_url)
    monkeypatch.setenv("SUSY_REDIS_URL", redis_url)
    monkeypatch.setattr(health, "ANSWER_WITHIN", 1.0)


def test_a_reconciler_is_healthy_while_its_servers_answer(services: None) -> None:
    assert health.main(["reconciler"]) == 0


def test_a_worker_is_healthy_while_it_answers(services: None) -> None:
    assert health.main(["worker"]) == 1
    with subprocess.Popen([sys.executable, "-c", WORKER], stderr=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + 30
            while health.main(["worker"]) != 0:
                assert process.poll() is None
                assert time.monotonic() < deadline
        finally:
            process.terminate()
    assert health.main(["worker"]) == 1


def test_a_worker_is_alive_while_it_touches_its_file_whatever_its_servers_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "alive"
    assert health.main(["alive"]) == 1
    monkeypatch.setenv("SUSY_ALIVE_FILE", str(path))
    assert health.main(["alive"]) == 1
    path.touch()
    assert health.main(["alive"]) == 0
    long_ago = time.time() - 61
    os.utime(path, (long_ago, long_ago))
    assert health.main(["alive"]) == 1


@pytest.mark.parametrize("role", ["worker", "reconciler"])
def test_servers_that_are_away_are_unhealthy_and_no_password_is_printed(
    role: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SUSY_DATABASE_URL", "postgresql://susy:hunter2@127.0.0.1:1/susy")
    monkeypatch.setenv("SUSY_REDIS_URL", "redis://:hunter2@127.0.0.1:1/0")
    assert health.main([role]) == 1
    assert "hunter2" not in "".join(capsys.readouterr())


def test_wrong_usage_is_told_apart() -> None:
    assert health.main([]) == health.main(["other"]) == 2
