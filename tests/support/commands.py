"""The `susy` command and other programs, run by tests.

`susy` (a fixture) runs a command inside the test's process, where a test can inject a fault. `processes` (a fixture)
starts workers and other commands as processes. `run` runs any program.
"""

from __future__ import annotations

import io
import itertools
import json
import logging
import os
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, Self

import pytest

from tests.support.checkout import CHECKOUT
from tests.support.forks import ForkedProcess, ForkServer
from tests.support.waiting import eventually

SUSY = (sys.executable, "-m", "worker")
"""The `susy` command of this checkout."""
BIN = Path(sys.executable).parent
"""The folder of the environment's console scripts."""
NOTHING = Path(os.devnull)
CLOSED = None
"""In the place of a path: the process starts with this standard stream closed."""


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
    """The caller's environment without settings of this project and the hub, with this checkout importable, and
    `variables`."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("SUSY_", "CHAOS_", "HF_"))}
    return inherited | {"PYTHONPATH": str(CHECKOUT), "OMP_NUM_THREADS": "1", "SUSY_DEVICE": "cpu"} | variables


def run(
    *command: str | Path,
    folder: Path = CHECKOUT,
    stdin: bytes = b"",
    timeout: float = 100.0,
    encoding: str = "utf-8",
    **variables: str,
) -> Result:
    """Run a program in `folder` to its end, with `variables` added to its environment.

    `timeout` is in seconds; `encoding` is that of what it prints.
    """
    ended = subprocess.run(
        list(map(str, command)),
        cwd=folder,
        env=environment(**variables),
        input=stdin,
        capture_output=True,
        timeout=timeout,
        check=False,
    )
    return Result(ended.returncode, ended.stdout.decode(encoding), ended.stderr.decode(encoding))


class Process(ABC):
    """A started process. Its standard output and error are appended to `log`."""

    pid: int
    log: Path

    @abstractmethod
    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""

    def output(self) -> str:
        """What it has printed so far."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def eventually(self, condition: Callable[[], Any], seconds: float = 60.0) -> None:
        """Wait for `condition`; fails when the process ends first."""

        def reached() -> Any:
            if value := condition():
                return value
            assert self.poll() is None, f"the process ended with {self.poll()}\n{self.output()}"
            return None

        eventually(reached, seconds, self.output)

    def ready(self, seconds: float = 60.0) -> Self:
        """Wait until it, a worker, takes messages."""
        self.eventually(lambda: "worker_ready" in self.output(), seconds)
        return self

    def wait(self, seconds: float = 60.0) -> int:
        """Wait for its end; the exit code."""
        eventually(lambda: self.poll() is not None, seconds, lambda: f"{self.pid} has not ended\n{self.output()}")
        code = self.poll()
        assert code is not None
        return code

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL, and wait for the end."""
        self.send_signal(signal.SIGKILL)
        self.wait()


class Spawned(Process):
    """A program in a new process."""

    def __init__(self, *command: str | Path, folder: Path, log: Path, environment: dict[str, str]) -> None:
        self.log = log
        with log.open("ab") as output:
            self._popen = subprocess.Popen(
                list(map(str, command)), cwd=folder, env=environment, stdout=output, stderr=output
            )
        self.pid = self._popen.pid

    def poll(self) -> int | None:
        return self._popen.poll()


class Forked(Process):
    """A function of this checkout in a fork of the fork server."""

    def __init__(
        self,
        forks: ForkServer,
        target: tuple[str, str],
        *arguments: str | Path,
        folder: Path,
        log: Path,
        environment: dict[str, str],
        stdin: Path = NOTHING,
    ) -> None:
        self._forks, self.log = forks, log
        self._code: int | None = None
        self.pid = forks.start(
            target,
            *map(str, arguments),
            environment=environment,
            folder=folder,
            stdin=stdin,
            stdout=log,
            stderr=log,
        )

    def poll(self) -> int | None:
        if self._code is None:
            self._code = self._forks.poll(self.pid)
        return self._code


SUSY_FUNCTION = ("worker.cli.main", "run")
"""What the `susy` command calls."""
CELERY = ("celery.__main__", "main")
"""What the `celery` command calls."""


@dataclass
class Processes:
    """Processes that share settings and a folder, and are stopped together. Each has a log of its own."""

    variables: dict[str, str]
    folder: Path
    forks: ForkServer
    started: list[Process] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def run(
        self,
        *arguments: str | Path,
        stdin: Path | None = NOTHING,
        stdout: Path | Literal["kept"] | None = "kept",
        stderr: Path | Literal["kept"] | None = "kept",
        encoding: str = "utf-8",
        **variables: str,
    ) -> Result:
        """`susy ARGUMENTS`, to its end.

        A stream is the path of a file, a device, a named pipe or a terminal, or `CLOSED`; "kept", it is part of the
        result, and `encoding` is that of what is kept.
        """
        number = next(self._numbers)
        kept = {name: self.folder / f"run-{number}.{name}" for name in ("stdout", "stderr")}
        for file in kept.values():
            file.touch()
        pid = self.forks.start(
            SUSY_FUNCTION,
            *map(str, arguments),
            environment=environment(**self.variables | variables),
            folder=self.folder,
            stdin=stdin,
            stdout=kept["stdout"] if stdout == "kept" else stdout,
            stderr=kept["stderr"] if stderr == "kept" else stderr,
        )
        eventually(lambda: self.forks.poll(pid) is not None, 100, kept["stderr"].read_text)
        code = self.forks.poll(pid)
        assert code is not None
        return Result(code, *(file.read_bytes().decode(encoding) for file in kept.values()))

    def start(self, *arguments: str | Path, stdin: Path = NOTHING, **variables: str) -> Process:
        """`susy ARGUMENTS`, in the background; `stdin` as for `run`."""
        return self._fork(SUSY_FUNCTION, *arguments, log=self._log(str(arguments[0])), stdin=stdin, **variables)

    def fork(self, target: tuple[str, str], *arguments: str | Path, **variables: str) -> Process:
        """Another function (module, name) with arguments as on a command line, in the background."""
        return self._fork(target, *arguments, log=self._log(target[1]), stdin=NOTHING, **variables)

    def spawn(self, *command: str | Path, **variables: str) -> Process:
        """Another program, in the background."""
        given = environment(**self.variables | variables)
        process = Spawned(*command, folder=self.folder, log=self._log("spawned"), environment=given)
        self.started.append(process)
        return process

    def start_worker(self, **variables: str) -> Process:
        """A worker that is ready to take messages."""
        return self.start("worker", **variables).ready()

    def start_reconciler(self, **variables: str) -> Process:
        return self.start("reconciler", **variables)

    def eventually(self, condition: Callable[[], Any], seconds: float = 60.0) -> None:
        eventually(condition, seconds, self.output)

    def output(self) -> str:
        """What all of them have printed so far."""
        return "".join(process.output() for process in self.started)

    def stop(self, seconds: float = 30.0) -> None:
        """Terminate all, and kill what does not end within `seconds`."""
        running = [process for process in self.started if process.poll() is None]
        for process in running:
            process.send_signal(signal.SIGCONT)
            process.terminate()
        deadline = time.monotonic() + seconds
        while any(process.poll() is None for process in running) and time.monotonic() < deadline:
            time.sleep(0.02)
        for process in running:
            process.kill()

    def _fork(
        self, target: tuple[str, str], *arguments: str | Path, log: Path, stdin: Path, **variables: str
    ) -> Process:
        given = environment(**self.variables | variables)
        process = Forked(self.forks, target, *arguments, folder=self.folder, log=log, environment=given, stdin=stdin)
        self.started.append(process)
        return process

    def _log(self, name: str) -> Path:
        return self.folder / f"{len(self.started)}-{name}.log"


@pytest.fixture(scope="session")
def forks() -> Iterator[ForkServer]:
    """The process that forks `susy` commands."""
    server = ForkServer(CHECKOUT, environment())
    yield server
    server.close()


@pytest.fixture
def forked_programs(
    forks: ForkServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[list[ForkedProcess]]:
    """The processes for TorchScript programs, each forked from one that has imported torch, which takes seconds.

    They are limited as those of users are. Those that remain are killed in the end.
    """
    from worker.detector import torchscript

    started: list[ForkedProcess] = []

    def fork(*arguments: object) -> ForkedProcess:
        environment = dict(torchscript._environment())
        target = (torchscript.__name__, torchscript.serve.__name__)
        process = ForkedProcess(forks, target, *map(str, arguments), environment=environment, folder=tmp_path)
        started.append(process)
        return process

    monkeypatch.setattr(torchscript, "start_process", fork)
    yield started
    for process in started:
        torchscript._kill(process)  # type: ignore[arg-type]


class Susy(Protocol):
    """`susy ARGUMENTS` inside the test's process."""

    def __call__(
        self, *arguments: str | Path, folder: Path | None = None, stdin: bytes = b"", **variables: str
    ) -> Result: ...


@pytest.fixture
def command_variables() -> dict[str, str]:
    """Settings of every command that a test runs by `susy` or `bare_processes`; folders override it."""
    return {}


@pytest.fixture
def bare_processes(command_variables: dict[str, str], tmp_path: Path, forks: ForkServer) -> Iterator[Processes]:
    """Commands as processes without servers, in `tmp_path`."""
    processes = Processes(command_variables, tmp_path, forks)
    yield processes
    processes.stop()


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
