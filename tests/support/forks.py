"""Starts commands in a fraction of a second: one process imports everything slow, and each start is a fork of it.

The process is `python -m tests.support.forks MODULE…`. It reads one JSON object per line:

    {"start": [module, function], "arguments": […], "environment": {…}, "folder": path,
     "stdin": path, "stdout": path, "stderr": path}    is answered with {"pid": …}; without a path, a stream is closed
    {"poll": pid}                                      is answered with {"code": …, "cpu": seconds}; null while it runs
    {"preload": [module, …]}                           is answered with {"ready": true}
    {"weights": path}                                  is answered with {"ready": true}

When its input ends, it kills its children, prints {"cpu": seconds}, those of itself alone, and ends.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, Any

from tests.support import networks, usage
from tests.support.waiting import eventually

PRELOADED = (
    "celery.bin.celery",
    "kombu.transport.redis",
    "worker.cli.main",
    "worker.detector.release",
    "worker.queue.celery_app",
    "worker.queue.runtime",
    "worker.queue.tasks",
)
"""Modules that import what is slow for workers, and read no settings."""
SHARED = "PYTEST_COMMAND_FORKS"
"""The variable that names the socket of a process that has imported them: see `pytest_forks.py`."""


class ForkServer:
    """The process that forks commands, and the way to ask it.

    It is a fork itself where there is a process to fork it from.
    """

    def __init__(self, folder: Path, environment: dict[str, str], preloaded: Sequence[str] = PRELOADED) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        stdin, requests = os.pipe()
        answers, stdout = os.pipe()
        if preloaded == PRELOADED and (path := os.environ.get(SHARED)):
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(path)
                socket.send_fds(connection, [b"\0"], [stdin, stdout, 2])
        else:
            command = [sys.executable, "-m", "tests.support.forks", *preloaded]
            self._process = subprocess.Popen(command, cwd=folder, env=environment, stdin=stdin, stdout=stdout)
        os.close(stdin)
        os.close(stdout)
        self._requests, self._answers = os.fdopen(requests, "w"), os.fdopen(answers)
        self._lock = threading.Lock()
        self._codes: dict[int, int] = {}
        self._counted = 0.0
        self._answer()

    def start(
        self,
        target: tuple[str, str],
        *arguments: str,
        environment: dict[str, str],
        folder: Path,
        stdin: Path | None = Path(os.devnull),
        stdout: Path | None,
        stderr: Path | None,
    ) -> int:
        """Fork a process that calls the function `target` (module, name) with `sys.argv` set; its pid.

        The function's exit code is what it returns, 0 for None. A standard stream without a path is closed.
        """
        with self._lock:
            answer = self._ask(
                start=target,
                arguments=arguments,
                environment=environment,
                folder=str(folder),
                stdin=stdin and str(stdin),
                stdout=stdout and str(stdout),
                stderr=stderr and str(stderr),
            )
            pid: int = answer["pid"]
            self._codes.pop(pid, None)
            return pid

    def poll(self, pid: int) -> int | None:
        """The exit code of the latest process with that pid, negative for a signal; None while it runs.

        Once there is one, the kernel may give the pid to another process: keep the code.
        """
        with self._lock:
            if pid not in self._codes:
                answer = self._ask(poll=pid)
                if answer["code"] is None:
                    return None
                self._codes[pid] = answer["code"]
                usage.add(answer["cpu"])
                self._counted += answer["cpu"]
            return self._codes[pid]

    def preload(self, *modules: str) -> None:
        """Import more of what is slow, for the forks from now on."""
        with self._lock:
            self._ask(preload=modules)

    def load(self, weights: Path) -> None:
        """Load a weights file for the detectors of the forks from now on."""
        with self._lock:
            self._ask(weights=str(weights))

    def close(self) -> None:
        """End the process and all that it started."""
        self._requests.close()
        ended = self._answer()
        if self._process:
            self._process.wait(30)
            usage.add(-self._counted)  # from now on counted with the server, a child of this process
        else:
            usage.add(ended["cpu"])
        self._answers.close()

    def _ask(self, **request: Any) -> dict[str, Any]:
        self._requests.write(json.dumps(request) + "\n")
        self._requests.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        line = self._answers.readline()
        assert line, "the fork server has ended"
        answer: dict[str, Any] = json.loads(line)
        return answer


class ForkedProcess:
    """A forked process whose standard streams are pipes: what this project uses of `subprocess.Popen`."""

    def __init__(
        self, forks: ForkServer, target: tuple[str, str], *arguments: str, environment: dict[str, str], folder: Path
    ) -> None:
        self._forks = forks
        self.returncode: int | None = None
        with tempfile.TemporaryDirectory() as pipes:
            stdin, stdout, stderr = paths = [Path(pipes, name) for name in ("stdin", "stdout", "stderr")]
            for path in paths:
                os.mkfifo(path)
            self.pid = forks.start(
                target,
                *arguments,
                environment=environment,
                folder=folder,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
            )
            # Each waits until the process has opened the other end, which it does in this order.
            self.stdin: IO[bytes] = stdin.open("wb")
            self.stdout: IO[bytes] = stdout.open("rb")
            self.stderr: IO[bytes] = stderr.open("rb")

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        if self.returncode is None:
            self.returncode = self._forks.poll(self.pid)
        return self.returncode

    def kill(self) -> None:
        """Send SIGKILL, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> int:
        """Wait for its end; the exit code."""
        eventually(lambda: self.poll() is not None)
        assert self.returncode is not None
        return self.returncode


def main() -> None:
    """Serve requests until standard input ends."""
    preload(sys.argv[1:])
    running: set[int] = set()
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        request: dict[str, Any] = json.loads(line)
        if "start" in request:
            pid = _fork(request)
            running.add(pid)
            answer: dict[str, Any] = {"pid": pid}
        elif "preload" in request:
            preload(request["preload"])
            answer = {"ready": True}
        elif "weights" in request:
            networks.load(Path(request["weights"]))
            gc.freeze()
            answer = {"ready": True}
        else:
            answer = _poll(request["poll"])
            if answer["code"] is not None:
                running.discard(request["poll"])
        print(json.dumps(answer), flush=True)
    for pid in running:
        os.kill(pid, signal.SIGKILL)
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps({"cpu": used.ru_utime + used.ru_stime}), flush=True)


def preload(modules: Iterable[str]) -> None:
    """Import `modules`, for the forks of this process."""
    for module in modules:
        importlib.import_module(module)
    if cli := sys.modules.get("worker.cli.main"):
        cli.command()
    gc.collect()
    gc.freeze()  # so that the forks' collectors neither visit nor copy what they share


def _fork(request: dict[str, Any]) -> int:
    pid = os.fork()
    if pid:
        return pid
    code: Any = 1
    try:
        _redirect(0, request["stdin"], os.O_RDONLY)
        _redirect(1, request["stdout"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        _redirect(2, request["stderr"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.setsid()
        os.chdir(request["folder"])
        os.environ.clear()
        os.environ.update(request["environment"])
        open_streams()
        module, function = request["start"]
        sys.argv = [function, *request["arguments"]]
        code = getattr(importlib.import_module(module), function)()
    except SystemExit as end:
        code = end.code
    except BaseException:  # noqa: BLE001 (a fork must never return into the server)
        traceback.print_exc()
    finally:
        if not _flush_streams():
            code = 120
        os._exit(code if isinstance(code, int) else int(code is not None))


def _redirect(descriptor: int, path: str | None, flags: int) -> None:
    if path is None:
        os.close(descriptor)
        return
    opened = os.open(path, flags, 0o644)
    if opened != descriptor:  # which it is where the one before is closed
        os.dup2(opened, descriptor)
        os.close(opened)


def open_streams() -> None:
    """Give `sys` the standard streams that the interpreter opens when it starts."""
    encoding, _, errors = os.environ.get("PYTHONIOENCODING", "utf-8").partition(":")
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(descriptor)
        except OSError:
            setattr(sys, name, None)
            continue
        by_line = name == "stderr" or os.isatty(descriptor)
        stream = open(  # noqa: SIM115 (open as long as the process is)
            descriptor,
            "r" if name == "stdin" else "w",
            buffering=1 if by_line else -1,
            encoding=encoding,
            errors="backslashreplace" if name == "stderr" else errors or "strict",
            closefd=False,
        )
        setattr(sys, name, stream)


def _flush_streams() -> bool:
    """Flush as the interpreter does when it ends: whether everything was written; a failure is printed."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None and not stream.closed:
                stream.flush()
        except OSError:
            if sys.stderr is not None:
                traceback.print_exc()
            return False
    return True


def _poll(pid: int) -> dict[str, Any]:
    ended, status, used = os.wait4(pid, os.WNOHANG)
    if not ended:
        return {"code": None, "cpu": None}
    return {"code": os.waitstatus_to_exitcode(status), "cpu": used.ru_utime + used.ru_stime}


if __name__ == "__main__":
    main()
