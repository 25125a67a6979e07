"""Images whose bytes cannot be read."""

from __future__ import annotations

from tests.chaos.deployment import Deployment


def test_an_input_output_error_is_tried_again_and_quarantined_in_the_end(deployment: Deployment) -> None:
    deployment.reconciler()
    path = deployment.images.folder / "broken.png"
    path.touch()
    deployment.ready_worker(SUSY_MAX_ATTEMPTS="2", CHAOS_BROKEN=str(path))
    broken = deployment.accept(path, None)
    deployment.submit(5)
    outcome = deployment.verify()
    assert (outcome.done, outcome.quarantined) == (5, 1)
    assert deployment.sql("SELECT error_code FROM susy.checks WHERE id = %s", broken) == [("unreadable",)]
