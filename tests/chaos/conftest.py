"""A deployment for each case, and the table of what the cases covered."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import LiteralString

import psycopg
import pytest
from psycopg import sql

from tests.chaos.deployment import Deployment, Images, Zygote
from tests.chaos.mutations import mutate_database
from tests.chaos.report import OUTCOMES, table
from tests.chaos.servers import Postgres, Valkey
from tests.conftest import _with_database
from tests.support.workplace import random_weights
from worker.store.migrate import upgrade

__all__ = ["random_weights"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "chaos" in Path(str(item.fspath)).parts:
            item.add_marker(pytest.mark.chaos)
            item.add_marker(pytest.mark.timeout(900))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if OUTCOMES:
        terminalreporter.section("checks and their ends")
        for line in table():
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    server = Postgres()
    yield server
    server.close()


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    zygote = Zygote()
    yield zygote
    zygote.close()


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Images:
    return Images(tmp_path_factory.mktemp("pictures"))


@pytest.fixture
def chaos_database(postgres: Postgres) -> Iterator[str]:
    # Not `_new_database`, whose connection would be cut when a case restarts Postgres.
    name = f"chaos_{uuid.uuid4().hex[:12]}"
    _run(postgres, "CREATE DATABASE {}", name)
    url = _with_database(postgres.url, name)
    try:
        upgrade(url)
        with psycopg.connect(url, autocommit=True) as connection:
            mutate_database(connection)
        yield url
    finally:
        _run(postgres, "DROP DATABASE {} WITH (FORCE)", name)


def _run(postgres: Postgres, statement: LiteralString, name: str) -> None:
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute(sql.SQL(statement).format(sql.Identifier(name)))


@pytest.fixture
def deployment(
    chaos_database: str, zygote: Zygote, pictures: Images, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Deployment]:
    """A deployment on the stand-in scorer, without workers yet."""
    case = request.node.name.removeprefix("test_").replace("_", " ")
    deployment = Deployment(tmp_path, zygote, chaos_database, Valkey(tmp_path / "valkey"), pictures, case)
    yield deployment
    deployment.close()


@pytest.fixture
def real_deployment(deployment: Deployment, random_weights: Path) -> Deployment:
    """The same with the real network, untrained."""
    deployment.weights = random_weights
    return deployment
