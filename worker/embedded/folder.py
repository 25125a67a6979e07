"""The folder of embedded servers: taken by one process at a time, and checked before a server is started on it.

What a server says of data that it cannot use is long, repeated and names no remedy.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from worker.errors import ConfigurationError, ErrorCode

_LOCK = "lock"
_CLUSTER = ("PG_VERSION", "postgresql.conf", "pg_hba.conf", "base", "global/pg_control", "pg_wal")
"""What the folder of every Postgres cluster has."""
_OF_NO_CLUSTER = frozenset({"log", ".handle_pids.json"})
"""What lies in the folder before there is one."""
_STATE = frozenset({_LOCK, "postgres", "valkey", "valkey.url", "services.toml"})


@contextmanager
def locked_folder(directory: Path, postgres_version: str) -> Iterator[None]:
    """Make `directory` and hold it while the block runs, so that no second process starts servers on its data.

    `postgres_version` is the major version of the embedded Postgres. Raises `ConfigurationError` where another process
    holds the folder, where it cannot be written to, or where what lies in it is not what an earlier start has left.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = os.open(directory / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except FileExistsError:
        raise _unusable(f"{str(directory)!r} is not a folder; move it away") from None
    except OSError as error:
        raise _unusable(f"{str(directory)!r} cannot be used ({error.strerror}); make it writable") from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise _unusable(
                f"{str(directory)!r} is in use by process {_holder(lock)}; stop that one first, or use another folder"
            ) from None
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
        _require_own(directory)
        _require_cluster(directory / "postgres", postgres_version)
        yield
    finally:
        os.close(lock)


def _holder(lock: int) -> str:
    return os.pread(lock, 20, 0).decode("ascii", "replace") or "another"


def _require_own(directory: Path) -> None:
    """Everything is of the kind and the user that an earlier start leaves."""
    for name in sorted(_STATE):
        path = directory / name
        if not path.exists() and not path.is_symlink():
            continue
        is_folder = name in ("postgres", "valkey")
        if path.is_dir() != is_folder:
            raise _unusable(f"{str(path)!r} is {'not ' if is_folder else ''}a folder; move it away")
        if os.geteuid() and path.stat().st_uid != os.geteuid():
            raise _unusable(f"{str(path)!r} belongs to another user; use another folder, or delete this one")
        if not os.access(path, os.R_OK | os.W_OK | (os.X_OK if is_folder else 0), effective_ids=True):
            raise _unusable(f"{str(path)!r} cannot be written to; give this user permission")


def _require_cluster(data: Path, version: str) -> None:
    """`data` is absent, empty, or a Postgres cluster of this major version."""
    try:
        present = {entry.name for entry in data.iterdir()} - _OF_NO_CLUSTER
    except FileNotFoundError:
        return
    if not present:
        return
    missing = [name for name in _CLUSTER if not (data / name).exists()]
    if missing:
        raise _unusable(f"{str(data)!r} is not a complete Postgres cluster: it lacks {missing[0]}; move it away")
    found = (data / "PG_VERSION").read_text(errors="replace").strip()
    if found != version:
        raise _unusable(
            f"{str(data)!r} was made by PostgreSQL {found[:20]}, but the embedded one is {version}; move it away, or"
            " export it with pg_dump of that version"
        )


def _unusable(what: str) -> ConfigurationError:
    return ConfigurationError(ErrorCode.SETTINGS, what)
