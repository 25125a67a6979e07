"""A runtime like a worker's."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.workplace import images, random_weights, settings
from worker.queue.runtime import Runtime, start_runtime
from worker.settings import Settings

__all__ = ["images", "random_weights", "settings"]


@pytest.fixture
def runtime(settings: Settings) -> Iterator[Runtime]:
    runtime = start_runtime(settings)
    yield runtime
    runtime.close()
