"""A gate behind each guard: the real service, on the ledger that a test's worker decides in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.serve.conftest import key
from tests.support.http_service import Service
from tests.support.ledger_worker import Outcome, working
from worker.client import Client
from worker.store import Store

__all__ = ["key"]

Working = Callable[[Outcome], AbstractContextManager[None]]


@pytest.fixture
def serve_changes(images: Path) -> dict[str, object]:
    return {"storage": str(images / "storage"), "max_bytes": 100_000}


@pytest.fixture
def gate(service: Service, key: str) -> Iterator[Client]:
    """The client that guards ask by."""
    with Client(url=service.url, api_key=key) as client:
        yield client


@pytest.fixture
def decides(store: Store, database_url: str) -> Working:
    """`with decides(outcome):` ends each check that is submitted meanwhile."""
    return lambda outcome: working(database_url, store, outcome)
