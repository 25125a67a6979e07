"""A runtime like a worker's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from worker.detector.detector import Detector
from worker.queue import runtime as runtime_module
from worker.queue.runtime import Runtime, start_runtime
from worker.settings import Settings, load_settings


@pytest.fixture(scope="session")
def detector(random_weights: Path) -> Iterator[Detector]:
    """One for all runtimes: loading it takes longer than most attempts."""
    with Detector(load_settings(weights=str(random_weights), device="cpu")) as detector:
        yield detector


@pytest.fixture
def one_detector(detector: Detector, monkeypatch: pytest.MonkeyPatch) -> Detector:
    """The detector of every runtime that a test starts."""
    monkeypatch.setattr(runtime_module, "Detector", lambda _: nullcontext(detector))
    return detector


@pytest.fixture
def runtime(settings: Settings, one_detector: Detector) -> Iterator[Runtime]:
    runtime = start_runtime(settings)
    yield runtime
    runtime.close()
