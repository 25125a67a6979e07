"""A worker's settings on real servers, with random weights of the real network, and its processes."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID

import numpy as np
import PIL.Image
import pytest

from tests.support import networks
from tests.support.commands import Processes
from tests.support.forks import ForkServer
from tests.support.released import random_susy
from worker.detector.weights import save_weights
from worker.queue.publisher import Publisher
from worker.settings import Settings, load_settings
from worker.store import CheckDetails, Store


@pytest.fixture(scope="session")
def random_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of the real network, untrained: their answers mean nothing and are always the same."""
    path = tmp_path_factory.mktemp("weights") / "random.safetensors"
    classes = ["authentic", *(f"generator-{number}" for number in range(1, 6))]
    save_weights(path, random_susy(), name="random", version="1", classes=classes, provenance={})
    networks.keep(path)
    return path


@pytest.fixture(scope="session")
def encoded_images() -> dict[str, bytes]:
    """The images of `images`, by file name. Encoding them takes longer than most tests do."""
    rng = np.random.default_rng(0)
    encoded: dict[str, bytes] = {}
    for name, (width, height) in {"a": (300, 260), "b": (500, 300), "small": (100, 300)}.items():
        file = io.BytesIO()
        PIL.Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8)).save(file, "PNG")
        encoded[f"{name}.png"] = file.getvalue()
    return encoded


@pytest.fixture
def images(tmp_path: Path, encoded_images: dict[str, bytes]) -> Path:
    """A root folder with a few images."""
    folder = tmp_path / "images"
    folder.mkdir()
    for name, content in encoded_images.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def settings(database_url: str, redis_url: str, images: Path, random_weights: Path) -> Settings:
    return load_settings(
        database_url=database_url,
        redis_url=redis_url,
        image_roots=(images,),
        weights=str(random_weights),
        device="cpu",
        concurrency=2,
        lease_duration=2.0,
        heartbeat_interval=0.3,
        hard_deadline=20.0,
        reconcile_interval=0.2,
    )


@pytest.fixture
def publisher(settings: Settings) -> Iterator[Publisher]:
    """Publishes to the test's Redis."""
    with Publisher(settings) as publisher:
        yield publisher


@pytest.fixture(scope="session")
def forks_with_weights(forks: ForkServer, random_weights: Path) -> ForkServer:
    """The process that forks workers, which has loaded their weights."""
    forks.load(random_weights)
    return forks


@pytest.fixture
def processes(settings: Settings, tmp_path: Path, forks_with_weights: ForkServer) -> Iterator[Processes]:
    """Commands as processes, with `settings` in their environment, in a folder of the test's own."""
    variables = {
        "SUSY_DATABASE_URL": settings.require_database_url(),
        "SUSY_REDIS_URL": settings.require_redis_url(),
        "SUSY_KEY_PREFIX": settings.key_prefix,
        "SUSY_IMAGE_ROOTS": os.pathsep.join(map(str, settings.image_roots)),
        "SUSY_WEIGHTS": settings.weights or "",
        "SUSY_CONCURRENCY": "2",
        "SUSY_LEASE_DURATION": "2",
        "SUSY_HEARTBEAT_INTERVAL": "0.5",
        "SUSY_RECONCILE_INTERVAL": "0.3",
        "SUSY_LOG_FORMAT": "json",
    }
    folder = tmp_path / "processes"
    folder.mkdir()
    processes = Processes(variables, folder, forks_with_weights)
    yield processes
    processes.stop()


@pytest.fixture
def ended(store: Store, processes: Processes) -> Callable[[UUID], CheckDetails]:
    """Waits until a check has ended, and returns it."""

    def wait(check_id: UUID) -> CheckDetails:
        processes.eventually(lambda: store.show(check_id).state.is_final)
        return store.show(check_id)

    return wait
