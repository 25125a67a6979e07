"""Starts pytest-xdist's processes, and their fork servers, as forks of one process that has imported everything.

That process imports what commands need. A fork of it waits to become the fork servers of tests (`forks.py`). It itself
has pytest collect the tests, as every process of pytest-xdist does, and becomes those processes, which then find all
modules imported. Whoever connects to the socket of the one or the other gives three standard streams to a new fork.
Both end when their standard input does.
"""

from __future__ import annotations

import contextlib
import gc
import os
import selectors
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import forks, usage
from tests.support.checkout import CHECKOUT

PROGRAM = f"import sys; sys.path[0] = {str(CHECKOUT)!r}; from tests.support import pytest_forks; pytest_forks.main()"
BECOME_FORK = Path(__file__).with_name("become_fork.py")
_forking = pytest.StashKey[contextlib.ExitStack]()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(config: pytest.Config, specs: list[Any]) -> None:
    """Have pytest-xdist's processes on this machine started as forks."""
    forking = config.stash[_forking] = contextlib.ExitStack()
    path = forking.enter_context(_start(config.args))
    for spec in specs:
        if spec.popen and not spec.python:
            spec.python = shlex.join([sys.executable, "-S", "-E", str(BECOME_FORK), str(path)])


def pytest_unconfigure(config: pytest.Config) -> None:
    if forking := config.stash.get(_forking, None):
        forking.close()


@contextlib.contextmanager
def _start(arguments: list[str]) -> Iterator[Path]:
    """Start the process that is forked; the path of the socket that gives processes for pytest."""
    folder = Path(tempfile.mkdtemp(prefix="susy-forks-"))
    with _listening(folder / "commands") as for_commands, _listening(folder / "tests") as for_tests:
        descriptors = for_commands.fileno(), for_tests.fileno()
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *map(str, descriptors), *arguments],
            env=os.environ | {forks.SHARED: str(folder / "commands")},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            pass_fds=descriptors,
        )
    usage.add_server(process.pid)
    try:
        yield folder / "tests"
    finally:
        assert process.stdin
        process.stdin.close()
        process.wait()
        shutil.rmtree(folder)


def _listening(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    return listener


def main() -> None:
    """Fork processes until standard input ends."""
    for_commands, for_tests = (socket.socket(fileno=int(descriptor)) for descriptor in sys.argv[1:3])
    forks.preload(forks.PRELOADED)
    child = os.fork()
    if not child:
        for_tests.close()
        sys.argv[1:] = forks.PRELOADED
        serve(for_commands, forks.main)
        return
    for_commands.close()
    for name in [name for name in sys.modules if name.partition(".")[0] == "tests"]:
        del sys.modules[name]  # which pytest imports with its assertions
    pytest.main(["--collect-only", "-qq", "--numprocesses=0", "-p", "no:cacheprovider", *sys.argv[3:]])
    serve(for_tests, _run_gateway)
    os.waitpid(child, 0)


def serve(listener: socket.socket, run: Callable[[], object]) -> None:
    """For each connection, fork a process that takes the streams that come with it, and calls `run`."""
    gc.collect()
    gc.freeze()  # so that the forks' collectors neither visit nor copy what they share
    children: list[int] = []
    interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)
    with selectors.DefaultSelector() as selector:
        for source in (listener, sys.stdin):
            selector.register(source, selectors.EVENT_READ)
        while all(key.fileobj is listener for key, _ in selector.select()):
            connection, _ = listener.accept()
            if child := os.fork():
                children.append(child)
                connection.close()
                continue
            signal.signal(signal.SIGINT, interrupt)
            listener.close()
            _, streams, _, _ = socket.recv_fds(connection, 1, 3)
            for descriptor, stream in enumerate(streams):
                os.dup2(stream, descriptor)
                os.close(stream)
            forks.open_streams()
            run()
            sys.exit()  # which closes the connection, and so says to its other end that this process has ended
    for child in children:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def _run_gateway() -> None:
    """Do what execnet's command line says for a gateway to another Python: run the program that comes in first."""
    exec(eval(sys.stdin.readline()), {"__name__": "__main__"})
