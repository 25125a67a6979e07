"""A `susy` on the path of the shells that a test starts. Each call is a fork of a process that has imported torch."""

from __future__ import annotations

import json
import socketserver
import sys
import tempfile
import threading
from collections.abc import Iterator
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

    class Forker(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            call = json.loads(self.rfile.readline())
            stdin, stdout, stderr = (Path(f"/proc/{call['pid']}/fd/{number}") for number in range(3))
            pid = forks.start(
                SUSY_FUNCTION,
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

    with tempfile.TemporaryDirectory(prefix="susy-path-") as name:
        folder, address = Path(name, "bin"), str(Path(name, "forker"))
        folder.mkdir()
        script = folder / "susy"
        script.write_text(_SCRIPT.format(python=sys.executable, address=address))
        script.chmod(0o755)
        with socketserver.ThreadingUnixStreamServer(address, Forker) as server:
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}).start()
            yield folder
            server.shutdown()
