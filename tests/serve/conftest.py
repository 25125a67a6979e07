"""A service with a key for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from schema.access import Scope
from tests.support.http_service import Client, Service, running_service
from tests.support.logins import url_of_login
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
def login() -> str | None:
    """The login of the service, where it is not that of the tests."""
    return None


@pytest.fixture
def service(
    settings: Settings, serve_changes: dict[str, object], times: TimeLimits, login: str | None
) -> Iterator[Service]:
    """The service on the test's database and Redis."""
    if login is not None:
        url = url_of_login(settings.require_database_url(), login)
        settings = settings.model_copy(update={"database_url": url})
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
