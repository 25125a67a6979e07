"""A key and a client of the service for each test."""

from __future__ import annotations

import pytest

from schema.access import Scope
from tests.support.http_service import Client, Service
from worker.store import Store


@pytest.fixture
def key(store: Store) -> str:
    """A key that may submit and read."""
    return store.keys.add("hooks", [Scope.SUBMIT, Scope.READ])


@pytest.fixture
def client(service: Service, key: str) -> Client:
    """Sends requests to the service with `key`."""
    return service.client(key)
