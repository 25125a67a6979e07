"""Databases for tests, cloned from a migrated template.

Copying the template takes the server longer than most tests, so a clone that a test has left is emptied for the next
one (`tests/support/clones.py`).
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, LiteralString
from urllib.parse import quote, urlencode

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from tests.support.clones import Clone
from tests.support.postgres_proxy import PostgresProxy
from tests.support.waiting import eventually
from worker.store import Store
from worker.store.migrate import upgrade

Sql = Callable[..., list[tuple[Any, ...]]]
"""Runs a statement with parameters; the rows it returns."""


@pytest.fixture(scope="session")
def template_database(postgres_url: str) -> Iterator[str]:
    """Name of a migrated database, to be cloned."""
    with new_database(postgres_url) as url:
        upgrade(url)
        yield str(conninfo_to_dict(url)["dbname"])


@pytest.fixture(scope="session", autouse=True)
def _administrators_end() -> Iterator[None]:
    yield
    while _administrators:
        _administrators.popitem()[1].close()


@pytest.fixture
def empty_database_url(postgres_url: str) -> Iterator[str]:
    """A database without a schema."""
    with new_database(postgres_url) as url:
        yield url


@pytest.fixture(scope="session")
def clones(postgres_url: str, template_database: str) -> Iterator[Clones]:
    """Databases that are equal to the template."""
    clones = Clones(postgres_url, template_database)
    yield clones
    clones.close()


@pytest.fixture
def database_url(clones: Clones) -> Iterator[str]:
    """A migrated database of the test's own, in which nothing is left of what other tests did."""
    with clones.lend() as url:
        yield url


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    """An open store on `database_url`."""
    with Store(database_url, pool_size=4) as store:
        yield store


@pytest.fixture(scope="module")
def shared_database_url(postgres_url: str, template_database: str) -> Iterator[str]:
    """A migrated database of the test file, for tests to which it does not matter what the others left there.

    Making a database takes the server longer than most statements.
    """
    with new_database(postgres_url, template=template_database) as url:
        yield url


@pytest.fixture(scope="module")
def shared_store(shared_database_url: str) -> Iterator[Store]:
    """An open store on `shared_database_url`."""
    with Store(shared_database_url, pool_size=2) as store:
        yield store


@pytest.fixture
def run(database_url: str) -> Iterator[Sql]:
    """Runs a statement in the test's database without the store; the rows it returns."""
    with psycopg.connect(database_url, autocommit=True) as connection:

        def run(query: str, *parameters: Any) -> list[tuple[Any, ...]]:
            cursor = connection.execute(query, parameters or None)  # type: ignore[arg-type]
            return cursor.fetchall() if cursor.description else []

        yield run


@pytest.fixture
def proxy(database_url: str) -> Iterator[PostgresProxy]:
    """A proxy in front of the test's database."""
    proxy = PostgresProxy(database_url)
    yield proxy
    proxy.close()


class Clones:
    """Lends databases that are equal to a template. One that cannot be made so again after its use is dropped."""

    def __init__(self, server_url: str, template: str) -> None:
        self._server_url = server_url
        self._template = template
        self._free: list[tuple[Clone, ExitStack]] = []

    @contextmanager
    def lend(self) -> Iterator[str]:
        clone, dropping = self._free.pop() if self._free else self._new()
        with dropping:
            yield clone.url
            if clone.restore():
                self._free.append((clone, dropping.pop_all()))

    def close(self) -> None:
        while self._free:
            self._free.pop()[1].close()

    def _new(self) -> tuple[Clone, ExitStack]:
        with ExitStack() as stack:
            clone = Clone(stack.enter_context(new_database(self._server_url, self._template)))
            stack.callback(clone.close)
            return clone, stack.pop_all()
        raise AssertionError


@contextmanager
def new_database(server_url: str, template: str = "template0") -> Iterator[str]:
    """Create a database as a copy of `template`; its URL. It is dropped in the end, and the server may be restarted."""
    name = f"susy_test_{uuid.uuid4().hex[:12]}"
    # Postgres counts a template's last session for a moment after it was closed.
    eventually(lambda: _create(server_url, name, template), 10)
    try:
        yield with_database(server_url, name)
    finally:
        _administrate(server_url, "DROP DATABASE IF EXISTS {} WITH (FORCE)", name)


def with_database(server_url: str, name: str) -> str:
    """The same server's URL with another database."""
    parameters = {**conninfo_to_dict(server_url), "dbname": name}
    return f"postgresql://?{urlencode(parameters, quote_via=quote)}"


def _create(server_url: str, name: str, template: str) -> bool:
    try:
        # Half the server's time of a copy that is also written to its log.
        _administrate(server_url, "CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy", name, template)
    except psycopg.errors.ObjectInUse:
        return False
    return True


_administrators: dict[str, psycopg.Connection[Any]] = {}
"""A connection to each server, which takes the server longer to open than to drop a database."""


def _administrate(server_url: str, statement: LiteralString, *names: str) -> None:
    query = sql.SQL(statement).format(*map(sql.Identifier, names))
    try:
        if server_url in _administrators:
            _administrators[server_url].execute(query)
            return
    except psycopg.OperationalError:
        if not _administrators[server_url].closed:  # it was not the connection that failed
            raise
    _administrators[server_url] = psycopg.connect(server_url, autocommit=True)
    _administrators[server_url].execute(query)
