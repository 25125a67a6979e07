"""A worker that runs, answers, and takes no work is unhealthy; one that has a reason to take none is not."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest

from schema.states import Lane
from tests.support.commands import CELERY, Process, Processes
from tests.support.databases import Sql
from tests.support.ledger import examination, submission
from worker.client import Client
from worker.errors import ErrorCode, UnhealthyError
from worker.queue import health
from worker.queue.health import HealthLimits, check_worker
from worker.settings import Settings
from worker.store import CheckDetails, Claim, Store

HOST = socket.gethostname()


QUICK = HealthLimits(idle_after=1.0, look_again_after=0.5)

CheckHealth = Callable[[], str]


@pytest.fixture
def check_health(settings: Settings) -> CheckHealth:
    """Why the worker is unhealthy; empty when it is healthy."""

    def check() -> str:
        try:
            check_worker(settings, QUICK)
        except UnhealthyError as error:
            return error.message
        return ""

    return check


def serving(processes: Processes, *queues: str) -> Process:
    """A worker that takes messages from these queues alone."""
    return processes.fork(CELERY, "-A", "susy_worker.celery", "worker", "-Q", ",".join(queues)).ready()


def test_a_worker_that_takes_no_uploads_is_unhealthy_while_some_wait(
    processes: Processes,
    settings: Settings,
    images: Path,
    ended: Callable[[UUID], CheckDetails],
    check_health: CheckHealth,
) -> None:
    deaf = serving(processes, "submit")
    assert check_health() == "", "no work waits"
    with Client(settings) as client:
        waiting = client.submit(source="avatars", uri=str(images / "b.png")).check_id
        processes.eventually(check_health, 30)
    assert "slots free" in check_health()
    deaf.terminate()
    assert deaf.wait() == 0
    processes.start_worker()
    ended(waiting)
    processes.eventually(lambda: not check_health())


def test_a_worker_that_is_reserved_for_uploads_is_healthy_while_a_backfill_waits(
    processes: Processes, settings: Settings, run: Sql, images: Path, check_health: CheckHealth
) -> None:
    serving(processes, "submit", "live")
    with Client(settings) as client:
        client.submit(source="archive", uri=str(images / "a.png"), lane=Lane.BACKFILL)
    run("UPDATE susy.checks SET next_attempt_at = now() - interval '1 hour'")
    assert check_health() == ""


def dispatched(store: Store, run: Sql, *, due: str = "1 hour", lane: Lane = Lane.LIVE) -> UUID:
    """A check that was sent to its lane's queue and has been due for so long."""
    check_id = store.submit(submission(lane=lane)).check_id
    store.mark_dispatched([check_id])
    run(f"UPDATE susy.checks SET next_attempt_at = now() - interval '{due}' WHERE id = %s", check_id)
    return check_id


def begun(store: Store, run: Sql, *, ago: str, worker: str = f"{HOST}:1") -> Claim:
    """A check that a worker has begun so long ago, and holds."""
    check_id = store.submit(submission()).check_id
    claim = store.claim(check_id, worker=worker, lease=3600, max_attempts=5)
    assert claim is not None
    run(f"UPDATE susy.checks SET started_at = now() - interval '{ago}' WHERE id = %s", check_id)
    return claim


def idle(store: Store, settings: Settings, lanes: list[Lane] | None = None) -> str | None:
    return health._idle_while_work_waits(store, lanes or list(Lane), settings, QUICK)


def test_what_waits_is_what_was_sent_to_a_lane_of_the_worker(store: Store, run: Sql, settings: Settings) -> None:
    assert idle(store, settings) is None
    store.submit(submission())
    run("UPDATE susy.checks SET next_attempt_at = now() - interval '1 hour'")
    assert idle(store, settings) is None, "the reconciler has not published it"
    dispatched(store, run, due="-1 hour")
    assert idle(store, settings) is None, "it is not due yet"
    dispatched(store, run, lane=Lane.BACKFILL)
    assert idle(store, settings, [Lane.LIVE]) is None, "it is not the worker's lane"
    assert idle(store, settings) is not None
    store.pause(Lane.BACKFILL)
    assert idle(store, settings) is None, "the lane is paused"


def test_a_worker_that_has_begun_a_check_lately_is_at_work(store: Store, run: Sql, settings: Settings) -> None:
    dispatched(store, run)
    begun(store, run, ago="0 s", worker="another-host:1")
    begun(store, run, ago="0 s", worker=f"{HOST}-2:1")
    assert idle(store, settings) is not None, "others have"
    ends: list[Callable[[Claim], object]] = [
        lambda claim: store.record(claim, examination()),
        lambda claim: store.fail(claim, code=ErrorCode.CORRUPT, message="why", retry_in=None),
        lambda claim: store.fail(claim, code=ErrorCode.UNREADABLE, message="why", retry_in=60),
    ]
    for end in ends:
        claim = begun(store, run, ago="0 s")
        assert idle(store, settings) is None
        end(claim)
        assert idle(store, settings) is None
        run("UPDATE susy.checks SET started_at = now() - interval '1 minute' WHERE id = %s", claim.check_id)
        assert idle(store, settings) is not None


def test_a_worker_without_a_free_slot_has_a_reason(store: Store, run: Sql, settings: Settings) -> None:
    dispatched(store, run)
    for _ in range(settings.concurrency):
        begun(store, run, ago="1 hour")
    assert idle(store, settings) is None


def test_a_check_that_is_attempted_alone_is_a_reason_for_as_long_as_an_attempt_may_take(
    store: Store, run: Sql, settings: Settings
) -> None:
    dispatched(store, run)
    begun(store, run, ago="10 s")
    assert settings.hard_deadline > 10
    assert idle(store, settings) is None
    run("UPDATE susy.checks SET started_at = now() - interval '1 minute' WHERE state = 'running'")
    assert idle(store, settings) is not None


def test_looking_reads_no_table_as_a_whole(store: Store, run: Sql) -> None:
    run(
        "INSERT INTO susy.checks (id, source, external_id, uri, lane, state, finished_at, content_sha256)"
        " SELECT gen_random_uuid(), 'old', 'done-' || i, '/images/1.jpg', 'live', 'done', now() - i * interval '1 min',"
        " repeat('a', 64) FROM generate_series(1, 20000) AS i"
    )
    store.analyze()
    from worker.store import queries

    with store._database.connection() as connection:
        values = {"host": HOST, "lanes": ["live", "backfill"], "window": 240.0}
        plan = "\n".join(row[0] for row in connection.execute(f"EXPLAIN {queries.WORKER_ACTIVITY}", values))
    assert "Seq Scan on checks" not in plan
