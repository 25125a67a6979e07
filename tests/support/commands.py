"""The `susy` command and other programs, run by tests.

`susy` (a fixture) runs a command inside the test's process, which takes milliseconds. `run` and `start` run a process
of its own, for what only a process can show: signals, exit codes, a plain environment, memory.
"""

from __future__ import annotations

import io
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pytest

from tests.support.checkout import CHECKOUT
from tests.support.waiting import eventually

SUSY = (sys.executable, "-m", "worker")
"""The `susy` command of this checkout."""
BIN = Path(sys.executable).parent
"""The folder of the environment's console scripts."""


@dataclass(frozen=True)
class Result:
    """How a command ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def document(self) -> Any:
        """The JSON object that it printed."""
        return json.loads(self.stdout)

    @property
    def documents(self) -> list[Any]:
        """The JSON objects that it printed, one per line."""
        return [json.loads(line) for line in self.stdout.splitlines()]


def environment(**variables: str) -> dict[str, str]:
    """The caller's environment without settings of this project, with this checkout importable, and `variables`."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("SUSY_", "CHAOS_"))}
    return inherited | {"PYTHONPATH": str(CHECKOUT), "OMP_NUM_THREADS": "1", "SUSY_DEVICE": "cpu"} | variables


def run(
    *command: str | Path, folder: Path = CHECKOUT, stdin: bytes = b"", timeout: float = 100.0, **variables: str
) -> Result:
    """Run a program in `folder` to its end, with `variables` added to its environment. `timeout` is in seconds."""
    ended = subprocess.run(
        list(map(str, command)),
        cwd=folder,
        env=environment(**variables),
        input=stdin,
        capture_output=True,
        timeout=timeout,
        check=False,
    )
    return Result(ended.returncode, ended.stdout.decode(), ended.stderr.decode())


def start(*command: str | Path, folder: Path = CHECKOUT, log: Path | None = None, **variables: str) -> Process:
    """Start a program in `folder` and return at once. Its output is appended to `log` (`folder`/processes.log)."""
    log = log or folder / "processes.log"
    with log.open("ab") as output:
        return Process(
            list(map(str, command)), cwd=folder, env=environment(**variables), stdout=output, stderr=output, log=log
        )


class Process(subprocess.Popen[bytes]):
    """A started program."""

    def __init__(self, *arguments: Any, log: Path, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.log = log

    def output(self) -> str:
        """What it and the other processes of the same log have printed so far."""
        return self.log.read_text(errors="replace")

    def eventually(self, condition: Callable[[], Any], seconds: float = 60.0) -> None:
        """Wait for `condition`; fails when the process ends first."""

        def reached() -> Any:
            if value := condition():
                return value
            assert self.poll() is None, f"the process ended with {self.returncode}\n{self.output()}"
            return None

        eventually(reached, seconds, self.output)

    def stop(self, seconds: float = 30.0) -> int:
        """Terminate it if it runs, kill it if it does not end within `seconds`; its exit code."""
        if self.poll() is None:
            self.send_signal(signal.SIGCONT)
            self.terminate()
        try:
            return self.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            return self.wait()


@dataclass
class Processes:
    """Processes that share an environment, a folder and a log, and are stopped together."""

    variables: dict[str, str]
    folder: Path
    started: list[Process] = field(default_factory=list)

    def run(self, *arguments: str | Path, **variables: str) -> Result:
        """`susy ARGUMENTS`, to its end."""
        return run(*SUSY, *arguments, folder=self.folder, **self.variables | variables)

    def start(self, *command: str | Path, **variables: str) -> Process:
        process = start(*command, folder=self.folder, **self.variables | variables)
        self.started.append(process)
        return process

    def start_worker(self, **variables: str) -> Process:
        """A worker that is ready to take messages."""
        return self.ready(*SUSY, "worker", **variables)

    def start_reconciler(self, **variables: str) -> Process:
        return self.start(*SUSY, "reconciler", **variables)

    def ready(self, *command: str, **variables: str) -> Process:
        """The same of any command that starts a worker."""
        before = self.output().count("worker_ready")
        process = self.start(*command, **variables)
        process.eventually(lambda: self.output().count("worker_ready") > before)
        return process

    def eventually(self, condition: Callable[[], Any], seconds: float = 60.0) -> None:
        eventually(condition, seconds, self.output)

    def output(self) -> str:
        log = self.folder / "processes.log"
        return log.read_text(errors="replace") if log.exists() else ""

    def stop(self) -> None:
        for process in self.started:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.terminate()
        for process in self.started:
            process.stop()


class Susy(Protocol):
    """`susy ARGUMENTS` inside the test's process."""

    def __call__(
        self, *arguments: str | Path, folder: Path | None = None, stdin: bytes = b"", **variables: str
    ) -> Result: ...


@pytest.fixture
def command_variables() -> dict[str, str]:
    """Settings of every command that a test runs by `susy`; folders override it."""
    return {}


@pytest.fixture
def susy(
    command_variables: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Susy:
    """`susy ARGUMENTS` inside this process, in `tmp_path` or `folder`, without a terminal."""
    from worker.cli import main

    def susy(*arguments: str | Path, folder: Path | None = None, stdin: bytes = b"", **variables: str) -> Result:
        capsys.readouterr()
        with monkeypatch.context() as patch, _same_logging():
            patch.chdir(folder or tmp_path)
            for name in [name for name in os.environ if name.startswith("SUSY_")]:
                patch.delenv(name)
            for name, value in ({"SUSY_DEVICE": "cpu"} | command_variables | variables).items():
                patch.setenv(name, value)
            patch.setattr(sys, "argv", ["susy", *map(str, arguments)])
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
            with pytest.raises(SystemExit) as ended:
                main.run()
        printed = capsys.readouterr()
        code = ended.value.code
        assert isinstance(code, int)
        return Result(code, printed.out, printed.err)

    return susy


@contextmanager
def _same_logging() -> Iterator[None]:
    """Leave the root logger as it was; commands point it at their standard error."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
