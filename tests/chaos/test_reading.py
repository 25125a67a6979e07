"""Images whose bytes cannot be read."""

from __future__ import annotations

from pathlib import Path

from tests.chaos.deployment import Deployment


def test_an_input_output_error_is_tried_again_and_quarantined_in_the_end(deployment: Deployment) -> None:
    deployment.reconciler()
    # Address 0 of a process is never mapped: the kernel answers a read of it with EIO.
    deployment.ready_worker(SUSY_MAX_ATTEMPTS="2", SUSY_IMAGE_ROOTS=f"{deployment.images.folder}:/proc/self")
    broken = deployment.accept(Path("/proc/self/mem"), None)
    deployment.submit(5)
    outcome = deployment.verify()
    assert (outcome.done, outcome.quarantined) == (5, 1)
    assert deployment.sql("SELECT error_code FROM susy.checks WHERE id = %s", broken) == [("unreadable",)]
