"""The real commands, as processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import pytest

from schema.states import CheckState
from tests.support.workplace import images, random_weights, settings
from worker.settings import Settings
from worker.store import CheckDetails, Store

__all__ = ["images", "random_weights", "settings"]

READY = 60.0


@dataclass
class Processes:
    """Starts commands with the test's settings in the environment, and ends what is left of them."""

    environment: dict[str, str]
    folder: Path
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """`susy ARGUMENTS`, to its end."""
        return subprocess.run(
            [sys.executable, "-m", "worker", *arguments],
            env=self.environment | environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

    def start(self, *command: str, **environment: str) -> subprocess.Popen[bytes]:
        """A process that goes on; its output is in `log`."""
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                command, env=self.environment | environment, cwd=self.folder, stdout=log, stderr=log
            )
        self.started.append(process)
        return process

    def start_worker(self, **environment: str) -> subprocess.Popen[bytes]:
        """A worker that is ready to take messages."""
        before = self.log_text().count("worker_ready")
        process = self.start(sys.executable, "-m", "worker", "worker", **environment)
        self.wait_for(lambda: self.log_text().count("worker_ready") > before, process)
        return process

    def start_reconciler(self, **environment: str) -> subprocess.Popen[bytes]:
        return self.start(sys.executable, "-m", "worker", "reconciler", **environment)

    def wait_for(self, condition: Callable[[], bool], process: subprocess.Popen[bytes] | None = None) -> None:
        until = time.monotonic() + READY
        while not condition():
            assert time.monotonic() < until, self.log_text()
            assert process is None or process.poll() is None, self.log_text()
            time.sleep(0.05)

    @property
    def log(self) -> Path:
        return self.folder / "processes.log"

    def log_text(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    def stop(self) -> None:
        for process in self.started:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.terminate()
        for process in self.started:
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@pytest.fixture
def processes(settings: Settings, tmp_path: Path) -> Iterator[Processes]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("SUSY_")} | {
        "SUSY_DATABASE_URL": settings.require_database_url(),
        "SUSY_REDIS_URL": settings.require_redis_url(),
        "SUSY_KEY_PREFIX": settings.key_prefix,
        "SUSY_ROOTS": os.pathsep.join(map(str, settings.roots)),
        "SUSY_WEIGHTS": settings.weights or "",
        "SUSY_DEVICE": "cpu",
        "SUSY_CONCURRENCY": "2",
        "SUSY_LEASE": "2",
        "SUSY_HEARTBEAT": "0.5",
        "SUSY_RECONCILE_EVERY": "0.3",
        "SUSY_LOG_FORMAT": "json",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    processes = Processes(environment, tmp_path)
    yield processes
    processes.stop()


@pytest.fixture
def ended(store: Store, processes: Processes) -> Callable[[UUID], CheckDetails]:
    """Wait until a check is done or quarantined."""

    def wait(check_id: UUID) -> CheckDetails:
        over = (CheckState.DONE, CheckState.QUARANTINED)
        processes.wait_for(lambda: store.show(check_id).state in over)
        return store.show(check_id)

    return wait
