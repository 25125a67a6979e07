"""Embedded servers for benches that need them, with as many databases as are compared."""

from __future__ import annotations

import shutil
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlencode

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from worker.embedded.servers import embedded_services
from worker.store.migrate import upgrade

FILL = """
INSERT INTO susy.checks (id, source, external_id, uri, lane, next_attempt_at, created_at)
SELECT gen_random_uuid(), CASE WHEN i %% (%(rows)s::int / 10) = 1 THEN 'small' ELSE 'flood' END,
    gen_random_uuid()::text, '/images/uploads/' || i || '.jpg', 'backfill', at, at
FROM generate_series(1, %(rows)s::int) AS i, LATERAL (SELECT now() - interval '1 hour' + i * interval '1 ms' AS at) AS t
"""
"""So many checks that wait: ten of one source, all others of another."""


@dataclass(frozen=True)
class Servers:
    """Addresses of what is running."""

    database_url: str
    redis_url: str

    def new_database(self, name: str) -> str:
        """A migrated database's URL."""
        with psycopg.connect(self.database_url, autocommit=True) as server:
            server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return self._migrated(name)

    def database(self, name: str) -> str:
        """A migrated database's URL; it may be one of an earlier run in the same folder."""
        with psycopg.connect(self.database_url) as server:
            known = server.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone()
        return self._migrated(name) if known else self.new_database(name)

    def _migrated(self, name: str) -> str:
        parameters = {**conninfo_to_dict(self.database_url), "dbname": name}
        url = f"postgresql://?{urlencode(parameters, quote_via=quote)}"
        upgrade(url)
        return url

    def describe(self) -> str:
        """The servers' versions and durability, in a line."""
        with psycopg.connect(self.database_url) as server:
            version = server.info.server_version // 10_000
        return f"PostgreSQL {version} and Valkey, embedded; fsync off, so that the disk is not what is measured"


@contextmanager
def servers(kept: Path | None = None) -> Iterator[Servers]:
    """Embedded Postgres and Valkey with their data in the folder `kept`, or in one that is deleted afterwards."""
    folder = kept or Path(tempfile.mkdtemp(prefix="susy-bench-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with embedded_services(folder) as services:
            with psycopg.connect(services.database_url, autocommit=True) as server:
                server.execute("ALTER SYSTEM SET fsync = off")
                server.execute("SELECT pg_reload_conf()")
            yield Servers(services.database_url, services.redis_url)
    finally:
        if kept is None:
            shutil.rmtree(folder, ignore_errors=True)


def median(values: Sequence[float], scale: float = 1000.0) -> str:
    """Median and range, by default of seconds in milliseconds."""
    scaled = [value * scale for value in values]
    return f"{statistics.median(scaled):.2f} ({min(scaled):.2f}–{max(scaled):.2f})"
