"""`susy up` and all its servers, ended by kill -9."""

from __future__ import annotations

import signal
import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from tests.chaos.deployment import Images, inherited
from tests.chaos.report import OUTCOMES, Outcome
from tests.support.commands import SUSY, Process, Spawned, run
from tests.support.waiting import eventually


@dataclass
class Up:
    """`susy up` in a folder."""

    folder: Path
    environment: dict[str, str]
    started: list[Process] = field(default_factory=list)
    family: list[psutil.Process] = field(default_factory=list)

    @property
    def services(self) -> Path:
        return self.folder / ".susy/services.toml"

    def start(self) -> Process:
        self.services.unlink(missing_ok=True)
        process = Spawned(*SUSY, "up", folder=self.folder, log=self.folder / "up.log", environment=self.environment)
        self.started.append(process)
        process.eventually(lambda: self.services.exists() and self.services.read_text() != "", 90)
        self.family = psutil.Process(process.pid).children(recursive=True)
        postmaster = int((self.folder / ".susy/postgres/postmaster.pid").read_text().split()[0])
        self.family.append(psutil.Process(postmaster))
        return process

    def submit(self, *paths: Path) -> list[str]:
        result = run(*SUSY, "submit", "--json", *paths, folder=self.folder, **self.environment)
        assert result.code == 0, result.stderr + self.log()
        return [document["check_id"] for document in result.documents]

    def states(self) -> list[tuple[Any, ...]]:
        url = tomllib.loads(self.services.read_text())["database_url"]
        with psycopg.connect(url) as connection:
            return connection.execute(
                "SELECT c.state, count(v.id), max(c.attempts) FROM susy.checks c"
                " LEFT JOIN susy.verdicts v ON v.check_id = c.id GROUP BY c.id, c.state"
            ).fetchall()

    def log(self) -> str:
        return (self.folder / "up.log").read_text()[-3000:]


@pytest.fixture
def up(tmp_path: Path, random_weights: Path) -> Iterator[Up]:
    environment = inherited(
        **{
            "SUSY_WEIGHTS": str(random_weights),
            "SUSY_THREADS": "1",
            "SUSY_LEASE_DURATION": "2",
            "SUSY_HEARTBEAT_INTERVAL": "0.5",
            "SUSY_SHUTDOWN_GRACE": "3",
            "SUSY_RECONCILE_INTERVAL": "0.3",
        }
    )
    up = Up(tmp_path, environment)
    yield up
    for process in up.started:
        process.terminate()
        process.wait()


def test_after_kill_9_of_everything_the_next_start_recovers_by_itself(up: Up) -> None:
    began = time.monotonic()
    images = Images(up.folder)
    process = up.start()
    up.submit(*[images.path(number) for number in range(8)])
    for victim in [psutil.Process(process.pid), *up.family]:
        victim.send_signal(signal.SIGKILL)
    process.wait()
    again = up.start()
    up.submit(*[images.path(number) for number in range(8, 12)])
    eventually(lambda: all(state == "done" for state, _, _ in up.states()), 120, up.log)
    states = up.states()
    assert [verdicts for _, verdicts, _ in states] == [1] * 12
    again.send_signal(signal.SIGINT)
    assert again.wait() == 0
    assert not [one for one in up.family if _lives(one)], "stopped in order, it leaves nothing running"
    attempts = max(attempts for _, _, attempts in states)
    OUTCOMES.append(Outcome("kill -9 of everything", 12, 12, 0, 0, 0, 0, 0, attempts, time.monotonic() - began))


def test_worker_service_and_deliverer_end_when_their_susy_up_was_killed(up: Up) -> None:
    process = up.start()
    eventually(lambda: "worker_ready" in up.log(), 90, up.log)
    attended = [one for one in up.family if "--attended" in one.cmdline()]
    assert {part for one in attended for part in ("worker", "serve", "deliver") if part in one.cmdline()} == {
        "worker",
        "serve",
        "deliver",
    }
    process.kill()
    eventually(lambda: not any(_lives(one) for one in attended), 60, up.log)
    assert up.start().poll() is None


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
