"""Postgres on a full disk: what is accepted stays, one line says it, and work resumes when there is space again."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.chaos.deployment import Deployment, enough, require_few_lines
from tests.support.full_disk import SmallDisk, small_disk
from tests.support.replication import PostgresServer
from tests.support.waiting import eventually
from worker.errors import ErrorCode, TransientError
from worker.store.migrate import upgrade

FULL_SECONDS = 8.0
MAX_LINES = 40
"""Of one process, without one line per check."""


@pytest.fixture
def disk() -> Iterator[SmallDisk]:
    with small_disk(megabytes=160) as disk:
        yield disk


@pytest.fixture(params=["tables", "tables and WAL"])
def server(disk: SmallDisk, request: pytest.FixtureRequest) -> Iterator[PostgresServer]:
    """A server with its tables, or everything, on the small disk."""
    elsewhere = Path(tempfile.mkdtemp(prefix="susy-wal-"))
    elsewhere.chmod(0o755)
    server = PostgresServer(disk.folder / "postgres")
    try:
        server.create(wal=elsewhere / "wal" if request.param == "tables" else None)
        yield server
        server.stop("immediate")
    finally:
        shutil.rmtree(elsewhere)


@pytest.fixture
def chaos_database(server: PostgresServer) -> str:
    """Instead of a database of the shared server."""
    upgrade(server.url())
    return server.url()


def test_a_full_disk_under_load_loses_nothing(deployment: Deployment, server: PostgresServer, disk: SmallDisk) -> None:
    reconciler = deployment.reconciler()
    workers = [deployment.ready_worker(CHAOS_SECONDS="0.02", SUSY_MAX_ATTEMPTS="20") for _ in range(2)]
    deployment.submit(enough(40))
    eventually(lambda: deployment.count("state = 'done'") > 0, 60, deployment.logs)
    disk.fill()
    refused = _submit_while_full(deployment, disk)
    assert refused, "the disk was full"
    assert {error.code for error in refused} == {ErrorCode.DATABASE_UNAVAILABLE}
    disk.free()
    if not _answers(server):  # it ends itself when it cannot write its WAL; whoever frees the disk starts it
        with contextlib.suppress(Exception):
            server.stop("immediate")
        server.start()
    deployment.submit(enough(20))
    outcome = deployment.verify()
    assert outcome.quarantined == 0
    assert not [process for process in (reconciler, *workers) if process.poll() is not None]
    require_few_lines((reconciler, *workers), MAX_LINES)


def _submit_while_full(deployment: Deployment, disk: SmallDisk) -> list[TransientError]:
    """Submit for some seconds, each one until it is accepted or refused; the refusals."""
    refused: list[TransientError] = []
    until = time.monotonic() + FULL_SECONDS
    while time.monotonic() < until or not refused:
        try:
            deployment.submit(5)
        except TransientError as error:
            refused.append(error)
            time.sleep(0.2)
        disk.fill()  # what Postgres has freed
    return refused


def _answers(server: PostgresServer) -> bool:
    try:
        psycopg.connect(server.url(), connect_timeout=5).close()
    except psycopg.OperationalError:
        return False
    return True
