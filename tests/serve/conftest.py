"""A service with a key for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from schema.access import Scope
from tests.support.http_service import Client, Service, running_service
from worker.serve.limits import DEFAULT_TIMES, TimeLimits
from worker.settings import Settings
from worker.store import Store


@pytest.fixture
def serve_changes() -> dict[str, object]:
    """Settings of the service that a test file changes."""
    return {}


@pytest.fixture
def times() -> TimeLimits:
    """Seconds that a test may shorten."""
    return DEFAULT_TIMES


@pytest.fixture
def service(settings: Settings, serve_changes: dict[str, object], times: TimeLimits) -> Iterator[Service]:
    """The service on the test's database and Redis."""
    with running_service(settings.model_copy(update=serve_changes), times) as service:
        yield service


@pytest.fixture
def key(store: Store) -> str:
    """A key that may submit and read."""
    return store.keys.add("hooks", [Scope.SUBMIT, Scope.READ])


@pytest.fixture
def client(service: Service, key: str) -> Client:
    """Sends requests to the service with `key`."""
    return service.client(key)
