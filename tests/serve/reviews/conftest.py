"""The service under its login of the compose file, and a moderators' tool that asks it."""

from __future__ import annotations

import pytest

from schema.access import Scope
from tests.support.http_service import Client, Service
from worker.store import Store


@pytest.fixture
def login() -> str:
    """The login of the service in the compose file."""
    return "susy_serve"


@pytest.fixture
def tool(service: Service, store: Store) -> Client:
    """With a key that may claim and review, and nothing else."""
    return service.client(store.keys.add("tool", [Scope.REVIEW]))
