"""Workers that are killed or frozen, wherever they are."""

from __future__ import annotations

import random
import signal
import time

import pytest

from tests.chaos.deployment import Deployment, enough, supervised
from tests.support.waiting import eventually
from worker.queue.publisher import Publisher


@pytest.mark.parametrize("point", ["popped", "claimed", "scoring", "before_commit", "committed"])
def test_a_worker_killed_when(deployment: Deployment, point: str) -> None:
    deployment.reconciler()
    doomed = deployment.ready_worker(CHAOS_AT=point, CHAOS_AFTER="5")
    deployment.submit(enough(20))
    assert doomed.wait() == -signal.SIGKILL
    deployment.worker()
    assert deployment.verify().quarantined == 0


def test_workers_killed_at_random_under_load(deployment: Deployment) -> None:
    deployment.reconciler()
    rng = random.Random(0)
    deployment.submit(enough(240))  # all of them, before a worker takes the first
    with supervised(deployment, 3, CHAOS_SECONDS="0.4") as supervisor:
        while deployment.count("state IN ('queued', 'running')") > 20:
            time.sleep(rng.uniform(0.4, 1.6))
            rng.choice(supervisor.workers).send_signal(signal.SIGKILL)
        outcome = deployment.verify()
    killed = sum(code == -signal.SIGKILL for code in supervisor.ends)
    assert killed >= 0.3 * (len(supervisor.ends) + 3), "of the workers that ran, three in ten were killed"
    assert outcome.quarantined <= 0.02 * outcome.checks


def test_a_worker_frozen_past_its_lease_writes_nothing_when_it_thaws(deployment: Deployment) -> None:
    deployment.reconciler()
    frozen = deployment.ready_worker(CHAOS_AT="scoring", CHAOS_ACT="stop", SUSY_CONCURRENCY="1")
    (check_id,) = deployment.submit(1)
    eventually(lambda: deployment.count("state = 'running'") == 1)
    deployment.worker()
    deployment.settle()
    before = deployment.sql("SELECT finished_at, worker FROM susy.checks WHERE id = %s", check_id)
    verdict = deployment.sql("SELECT id, created_at FROM susy.verdicts WHERE check_id = %s", check_id)
    frozen.send_signal(signal.SIGCONT)
    eventually(lambda: "lease_lost" in frozen.output() or "check_done" in frozen.output(), 60, frozen.output)
    assert "check_done" not in frozen.output()
    assert deployment.sql("SELECT finished_at, worker FROM susy.checks WHERE id = %s", check_id) == before
    assert deployment.sql("SELECT id, created_at FROM susy.verdicts WHERE check_id = %s", check_id) == verdict
    deployment.verify()


def test_one_check_published_a_hundred_times_at_once_is_looked_at_once(deployment: Deployment) -> None:
    workers = [deployment.worker(CHAOS_SECONDS="0.2") for _ in range(3)]
    for worker in workers:
        worker.ready()
    (check_id,) = deployment.submit(1, publish=False)
    with Publisher(deployment.settings) as publisher:
        publisher.publish([check_id] * 100, lane="live")  # type: ignore[arg-type]
    assert deployment.verify().most_attempts == 1


def test_a_done_check_put_back_by_hand_keeps_its_one_verdict(deployment: Deployment) -> None:
    deployment.reconciler()
    deployment.worker()
    (check_id,) = deployment.submit(1)
    deployment.settle()
    verdict = deployment.sql("SELECT id FROM susy.verdicts")
    deployment.sql(
        "UPDATE susy.checks SET state = 'queued', attempts = 0, finished_at = NULL, dispatched_at = NULL WHERE id = %s",
        check_id,
    )
    deployment.verify()
    assert deployment.sql("SELECT id FROM susy.verdicts") == verdict


def test_of_two_reconcilers_the_leader_is_killed_and_the_other_takes_over(deployment: Deployment) -> None:
    reconcilers = {name: deployment.reconciler(PGAPPNAME=name) for name in ("first", "second")}
    leading = """
        SELECT application_name FROM pg_stat_activity a JOIN pg_locks l ON l.pid = a.pid
        WHERE l.locktype = 'advisory' AND l.granted AND a.datname = current_database()
    """
    seen: list[str] = []

    def leader() -> bool:
        seen.extend(name for (name,) in deployment.sql(leading))
        return bool(seen)

    deployment.worker()
    eventually(leader)
    reconcilers[seen[-1]].kill()
    deployment.submit(enough(20), publish=False)
    deployment.verify()
