"""A `susy` and a `python -m` for the shells and launchers that a test starts.

Each call is a fork of a process that has imported torch.
"""

from __future__ import annotations

import json
import runpy
import socketserver
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.commands import SUSY_FUNCTION
from tests.support.forks import ForkServer
from tests.support.waiting import eventually

_SCRIPT = """#!{python} -IS
import json, os, socket, sys

call = {{"pid": os.getpid(), "arguments": sys.argv[1:], "folder": os.getcwd(), "environment": dict(os.environ)}}
with socket.socket(socket.AF_UNIX) as forker, forker.makefile("rw") as lines:
    forker.connect({address!r})
    print(json.dumps(call), file=lines, flush=True)
    sys.exit(int(lines.readline()))
"""
"""Waits for the fork, which has its arguments, folder, environment and standard streams, and ends as the fork does."""


@pytest.fixture
def susy_on_path(forks: ForkServer) -> Iterator[Path]:
    """The folder of a program `susy`, to be put on a path."""
    with _program("susy", SUSY_FUNCTION, forks) as program:
        yield program.parent


@pytest.fixture
def forked_python(forks: ForkServer) -> Iterator[Path]:
    """A program that runs `-m MODULE ARGUMENTS` as Python does."""
    with _program("python", (__name__, run_module.__name__), forks) as program:
        yield program


def run_module() -> None:
    """Run the module that the command line names, with the arguments after it."""
    at = sys.argv.index("-m") + 1
    module, sys.argv = sys.argv[at], sys.argv[at:]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


@contextmanager
def _program(name: str, target: tuple[str, str], forks: ForkServer) -> Iterator[Path]:
    """A program in a folder of its own, each call of which is a fork that calls `target`."""

    class Forker(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            call = json.loads(self.rfile.readline())
            stdin, stdout, stderr = (Path(f"/proc/{call['pid']}/fd/{number}") for number in range(3))
            pid = forks.start(
                target,
                *call["arguments"],
                environment=call["environment"],
                folder=Path(call["folder"]),
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
            )
            eventually(lambda: forks.poll(pid) is not None, 100)
            code = forks.poll(pid)
            assert code is not None
            self.wfile.write(f"{code if code >= 0 else 128 - code}\n".encode())

    with tempfile.TemporaryDirectory(prefix="susy-path-") as parent:
        folder, address = Path(parent, "bin"), str(Path(parent, "forker"))
        folder.mkdir()
        script = folder / name
        script.write_text(_SCRIPT.format(python=sys.executable, address=address))
        script.chmod(0o755)
        with socketserver.ThreadingUnixStreamServer(address, Forker) as server:
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}).start()
            yield script
            server.shutdown()
