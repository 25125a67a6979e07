"""A whole deployment in one place: embedded servers, migrated, with a worker, a reconciler and the HTTP service."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from worker.cli.output import notes
from worker.embedded.servers import embedded_services
from worker.errors import ConfigurationError, ErrorCode
from worker.queue.publisher import Publisher
from worker.queue.reconciler import reconcile_forever
from worker.settings import PREFIX, Settings, load_settings
from worker.store import Store, migrate

SETUP_EXIT_CODE = 2
_PROGRAM = __name__.partition(".cli.")[0]  # `worker`, and in an installation the package it lies in, too
_STOP_MARGIN = 15.0
"""Seconds beyond its grace time after which a process is killed."""


@dataclass(frozen=True)
class Stack:
    """What is running."""

    settings: Settings
    processes: tuple[SupervisedProcess, ...]

    def supervise(self) -> None:
        """Start processes again that have ended. Raises `SetupError` when one cannot start as set up."""
        for process in self.processes:
            process.supervise()


class SupervisedProcess:
    """A `susy` command as a process of its own, started again when it ends by itself.

    The command has the option `--attended`: it stops when its standard input ends.
    """

    def __init__(self, command: str, settings: Settings, log: IO[bytes] | None) -> None:
        self._command = command
        others = {name: value for name, value in os.environ.items() if not name.upper().startswith(PREFIX)}
        self._environment = others | settings.environment()
        self._log = log
        self._patience = settings.shutdown_grace + _STOP_MARGIN
        self._process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            # -P: the working folder is the user's, and may hold a module named as one of ours or Celery's.
            [sys.executable, "-P", "-m", _PROGRAM, self._command, "--attended"],
            env=self._environment,
            stdin=subprocess.PIPE,  # its end tells the process that this one is gone, even by kill -9
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,  # Ctrl-C reaches the parent, which stops it in order
        )

    @property
    def pid(self) -> int:
        """Process id of the one that runs now."""
        return self._process.pid

    def supervise(self) -> None:
        """Start it again if it has ended. Raises `SetupError` when it cannot start as set up."""
        code = self._process.poll()
        if code == SETUP_EXIT_CODE:
            raise ConfigurationError(
                ErrorCode.SETTINGS, f"`susy {self._command}` cannot start; its own message says why"
            )
        if code is not None:
            notes.print(f"`susy {self._command}` ended by itself (code {code}), and is started again")
            self._close_pipe()
            self._process = self._start()

    def stop(self) -> None:
        """Let it finish what is running, then end it."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(self._patience)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._close_pipe()

    def _close_pipe(self) -> None:
        if self._process.stdin:
            self._process.stdin.close()


@contextmanager
def running_stack(
    directory: Path,
    roots: tuple[Path, ...],
    *,
    commands: Sequence[str] = ("worker",),
    worker_log: IO[bytes] | None = None,
    **changes: Any,
) -> Iterator[Stack]:
    """Embedded servers, a reconciler, and `commands` as processes, with their data under `directory`.

    All of it stops with the block. `changes` are settings, such as `weights`, that differ from the environment's.
    """
    with embedded_services(directory) as services:
        settings = load_settings(
            database_url=services.database_url, redis_url=services.redis_url, image_roots=roots, url=None, **changes
        )
        migrate.upgrade(services.database_url)
        stopped = threading.Event()
        with Store(services.database_url, pool_size=4) as store, Publisher(settings) as publisher:
            reconciler = threading.Thread(
                target=reconcile_forever, args=(store, publisher, settings, stopped), name="reconciler"
            )
            reconciler.start()
            try:
                with ExitStack() as running:
                    processes = []
                    for command in commands:
                        processes.append(SupervisedProcess(command, settings, worker_log))
                        running.callback(processes[-1].stop)
                    yield Stack(settings, tuple(processes))
            finally:
                stopped.set()
                reconciler.join()
