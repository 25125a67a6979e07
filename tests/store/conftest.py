from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from tests.support.postgres_proxy import PostgresProxy

Sql = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture
def run(database_url: str) -> Iterator[Sql]:
    """Runs a statement in the test's database, past the store; the rows it returns."""
    with psycopg.connect(database_url, autocommit=True) as connection:

        def run(query: str, *parameters: Any) -> list[tuple[Any, ...]]:
            cursor = connection.execute(query, parameters or None)
            return cursor.fetchall() if cursor.description else []

        yield run


@pytest.fixture
def proxy(database_url: str) -> Iterator[PostgresProxy]:
    proxy = PostgresProxy(database_url)
    yield proxy
    proxy.close()
