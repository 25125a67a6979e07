"""Workers that are told to stop."""

from __future__ import annotations

import signal
import time

import pytest

from tests.chaos.deployment import Deployment, Process, enough
from tests.support.postgres_proxy import PostgresProxy
from tests.support.waiting import eventually


def busy(deployment: Deployment, **environment: str) -> Process:
    """A worker with its hands full, and more waiting."""
    worker = deployment.ready_worker(**environment)
    deployment.submit(enough(16))
    eventually(lambda: deployment.count("state = 'running'") >= 4)
    return worker


def test_sigterm_finishes_what_runs_and_charges_nobody(deployment: Deployment) -> None:
    deployment.reconciler()
    worker = busy(deployment, CHAOS_SECONDS="0.5")
    worker.send_signal(signal.SIGTERM)
    assert worker.wait() == 0
    assert deployment.count("state = 'running'") == 0
    assert deployment.count("state = 'done'") >= 4, "what ran was finished"
    deployment.worker()
    assert deployment.verify().most_attempts == 1


def test_sigterm_gives_back_what_does_not_finish_within_the_grace_time(deployment: Deployment) -> None:
    deployment.reconciler()
    worker = busy(deployment, CHAOS_SECONDS="300", SUSY_SHUTDOWN_GRACE="1")
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(30) == 0
    assert deployment.count("state = 'running'") == 0
    assert deployment.count("attempts > 0") == 0, "given back as if they had not been claimed"
    deployment.worker()
    assert deployment.verify().most_attempts == 1


@pytest.mark.parametrize("signals", [["SIGQUIT"], ["SIGINT", "SIGINT"]], ids=["SIGQUIT", "SIGINT twice"])
def test_a_worker_told_to_end_at_once_leaves_no_half_verdict(deployment: Deployment, signals: list[str]) -> None:
    deployment.reconciler()
    worker = busy(deployment, CHAOS_SECONDS="300")
    began = time.monotonic()
    for name in signals:
        worker.send_signal(signal.Signals[name])
        time.sleep(0.3)
    assert worker.wait(30) == 1
    assert time.monotonic() - began < 15
    assert deployment.sql("SELECT count(*) FROM susy.verdicts") == [(0,)]
    assert deployment.count("state = 'queued' AND attempts = 0") == len(deployment.expected)
    deployment.worker()
    assert deployment.verify().most_attempts == 1


def test_a_worker_that_waits_for_postgres_can_still_be_stopped(deployment: Deployment) -> None:
    proxy = PostgresProxy(deployment.database_url)
    deployment.reconciler()
    worker = busy(deployment, CHAOS_SECONDS="1", SUSY_SHUTDOWN_GRACE="2", SUSY_DATABASE_URL=proxy.url)
    proxy.refuse(True)
    proxy.cut()
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(30) == 0
    proxy.close()
    deployment.worker()
    deployment.verify()
