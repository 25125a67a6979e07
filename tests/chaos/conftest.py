"""A deployment for each case, and the table of what the cases covered."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.chaos.deployment import Deployment, Images
from tests.chaos.mutations import mutate_database
from tests.chaos.report import CALLBACKS, OUTCOMES, callback_table, table
from tests.support.databases import new_database
from tests.support.forks import ForkServer
from tests.support.servers import Postgres, Valkey
from worker.store.migrate import upgrade


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == Path(__file__).parent and item.path.name != "test_mutations.py":
            item.add_marker(pytest.mark.chaos)
            item.add_marker(pytest.mark.timeout(900))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if OUTCOMES:
        terminalreporter.section("checks and their ends")
        for line in table():
            terminalreporter.write_line(line)
    if CALLBACKS:
        terminalreporter.section("callbacks")
        for line in callback_table():
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A server that keeps what it has committed, and that cases restart."""
    server = Postgres()
    server.configure(synchronous_commit="on")
    yield server
    server.close()


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Images:
    return Images(tmp_path_factory.mktemp("pictures"))


@pytest.fixture
def chaos_database(postgres: Postgres) -> Iterator[str]:
    with new_database(postgres.url) as url:
        upgrade(url)
        with psycopg.connect(url, autocommit=True) as connection:
            mutate_database(connection)
        yield url


@pytest.fixture
def deployment(
    chaos_database: str, forks: ForkServer, pictures: Images, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Deployment]:
    """A deployment on the stand-in scorer, without workers yet."""
    case = request.node.name.removeprefix("test_").replace("_", " ")
    deployment = Deployment(tmp_path, forks, chaos_database, Valkey(tmp_path / "valkey"), pictures, case)
    yield deployment
    deployment.close()


@pytest.fixture
def real_deployment(deployment: Deployment, random_weights: Path) -> Deployment:
    """The same with the real network, untrained."""
    deployment.weights = random_weights
    return deployment
