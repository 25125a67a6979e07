"""Images that end or hang the process, with the real network."""

from __future__ import annotations

from pathlib import Path

import PIL.Image
import pytest

from tests.chaos.deployment import Deployment, supervised
from tests.chaos.worker import POISON
from worker.queue.heartbeat import STUCK_EXIT_CODE

CLOSE = 2e-3
"""A tile scored in another batch differs in its last bits; the ledger keeps three digits."""


@pytest.fixture
def poison(real_deployment: Deployment) -> Path:
    path = real_deployment.images.folder / "poison.png"
    PIL.Image.new("RGB", (224, 224), POISON).save(path)
    return path


@pytest.mark.parametrize("act", ["segfault", "kill"])
def test_a_poison_image_in_a_batch(real_deployment: Deployment, poison: Path, act: str) -> None:
    deployment = real_deployment
    deployment.reconciler()
    mates = deployment.submit(6)
    poisoned = deployment.accept(poison, None)
    mates += deployment.submit(6)
    with supervised(deployment, 2, CHAOS_FORWARD=act):
        outcome = deployment.verify(tolerance=CLOSE)
    ((state, attempts, code),) = deployment.sql(
        "SELECT state, attempts, error_code FROM susy.checks WHERE id = %s", poisoned
    )
    assert (state, attempts, code) == ("quarantined", 5, "lease_expired")
    assert (outcome.done, outcome.quarantined) == (len(mates), 1)
    worst = deployment.sql("SELECT max(attempts) FROM susy.checks WHERE id <> %s", poisoned)[0][0]
    assert worst <= 2, "a mate pays one attempt at most"


def test_a_hung_inference_thread_ends_its_process_and_its_checks_are_done_elsewhere(
    real_deployment: Deployment, poison: Path
) -> None:
    deployment = real_deployment
    deployment.reconciler()
    hanging = deployment.ready_worker(CHAOS_FORWARD="hang", SUSY_HARD_DEADLINE="4")
    deployment.accept(poison, _score_of(deployment, poison))
    deployment.submit(5)
    assert hanging.wait(60) == STUCK_EXIT_CODE
    deployment.worker()
    assert deployment.verify(tolerance=CLOSE).quarantined == 0


def _score_of(deployment: Deployment, path: Path) -> float | None:
    from tests.chaos.deployment import _score

    return _score(path, deployment.weights)
