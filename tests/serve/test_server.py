"""`susy serve` as processes: it stops in order, replaces what dies, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from schema.access import Scope
from tests.support.commands import Process, Processes
from tests.support.http_service import Client
from tests.support.ledger import submission
from tests.support.servers import free_port
from tests.support.waiting import eventually
from worker.errors import ErrorCode, UnhealthyError
from worker.queue.health import check_serve
from worker.settings import Settings
from worker.store import Store

CHECK = {"source": "avatars", "uri": "/images/1.jpg"}


class Server:
    """A started `susy serve`, and a client with a key."""

    def __init__(self, processes: Processes, store: Store, workers: int) -> None:
        self.port = free_port()
        key = store.keys.add("hooks", [Scope.SUBMIT, Scope.READ])
        self.client = Client(f"http://127.0.0.1:{self.port}", key)
        self.process: Process = processes.start(
            "serve", SUSY_SERVE_PORT=str(self.port), SUSY_SERVE_WORKERS=str(workers), SUSY_SHUTDOWN_GRACE="10"
        )
        self.process.eventually(self.is_ready)

    def is_ready(self) -> bool:
        try:
            return self.client.get("/readyz").status == 200
        except OSError:
            return False

    def children(self) -> list[psutil.Process]:
        """The processes that serve."""
        return [child for child in psutil.Process(self.process.pid).children() if serves(child)]


def serves(process: psutil.Process) -> bool:
    """Whether it runs, and is not the helper that Python starts beside processes."""
    try:
        return "resource_tracker" not in " ".join(process.cmdline())
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return False


def test_it_answers_what_is_under_way_and_ends_with_0(processes: Processes, store: Store) -> None:
    server = Server(processes, store, workers=1)
    check_id = store.submit(submission()).check_id
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(server.client.get, f"/v1/checks/{check_id}?wait=30")
        time.sleep(0.7)
        began = time.monotonic()
        server.process.terminate()
        assert waiting.result(20).document["state"] == "queued"
    assert server.process.wait(20) == 0, server.process.output()
    assert time.monotonic() - began < 10
    lines = [json.loads(line) for line in server.process.output().splitlines() if line.startswith("{")]
    (request,) = (line for line in lines if line.get("check_id") == str(check_id))
    assert (request["event"], request["status"], request["key"]) == ("request", 200, "hooks")


def test_a_process_that_dies_is_replaced_and_none_outlives_the_command(processes: Processes, store: Store) -> None:
    server = Server(processes, store, workers=2)
    eventually(lambda: len(server.children()) == 2, 20)
    victim = server.children()[0]
    victim.kill()
    eventually(lambda: victim.pid not in [child.pid for child in server.children()] and len(server.children()) == 2, 30)
    eventually(server.is_ready, 30)
    assert server.client.post("/v1/checks", CHECK).status == 202
    left = server.children()
    server.process.send_signal(signal.SIGKILL)
    eventually(lambda: not any(map(serves, left)), 20)


def test_a_port_that_is_in_use_is_named(processes: Processes, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        result = processes.run("serve", "--port", str(other.getsockname()[1]), "--workers", "1")
    assert result.code == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith("susy: settings: cannot listen on 127.0.0.1 port")


def test_the_health_check_asks_the_service(processes: Processes, store: Store, settings: Settings) -> None:
    server = Server(processes, store, workers=1)
    here = settings.model_copy(update={"serve_host": "0.0.0.0", "serve_port": server.port})
    check_serve(here)
    os.kill(server.process.pid, signal.SIGTERM)
    server.process.wait()
    with pytest.raises(UnhealthyError) as refused:
        check_serve(here)
    assert refused.value.code is ErrorCode.UNEXPECTED
    assert str(server.port) in refused.value.message
