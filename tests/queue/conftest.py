"""A runtime like a worker's."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from worker.queue.runtime import Runtime, start_runtime
from worker.settings import Settings


@pytest.fixture
def runtime(settings: Settings) -> Iterator[Runtime]:
    runtime = start_runtime(settings)
    yield runtime
    runtime.close()
