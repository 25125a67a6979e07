"""Lanes and sources under load, with a real worker and a real reconciler."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from uuid import UUID

from schema.states import Lane
from tests.support.commands import Processes
from tests.support.databases import Sql
from tests.support.ledger import submission, submit_all
from tests.support.workplace import settings  # with a worker's weights and short times, not the backlog commands'
from worker.client import Client
from worker.settings import Settings
from worker.store import CheckDetails, Store

__all__ = ["settings"]

CONCURRENCY = 2
BEFORE = """
SELECT count(*) FROM susy.checks AS other, susy.checks AS ours
WHERE ours.id = %s AND other.id <> ours.id AND other.source = 'flood'
    AND other.started_at BETWEEN %s AND ours.started_at
"""
"""How many checks of the flood were begun while ours waited, since the time at which its message was in Redis."""
NOW = "SELECT clock_timestamp()"
WAITING = "SELECT count(*) FROM susy.checks WHERE state = 'queued'"
DONE = "SELECT count(*) FROM susy.checks WHERE state = 'done'"


def test_a_live_image_waits_for_what_is_in_flight_of_a_backfill_and_no_longer(
    processes: Processes,
    settings: Settings,
    images: Path,
    store: Store,
    run: Sql,
    ended: Callable[[UUID], CheckDetails],
) -> None:
    image = str(images / "a.png")
    submit_all(store, (submission(source="flood", uri=image, lane=Lane.BACKFILL) for _ in range(4000)))
    processes.start_reconciler()
    processes.start_worker(SUSY_CONCURRENCY=str(CONCURRENCY))
    processes.eventually(lambda: run(DONE)[0][0] > 20)
    with Client(settings) as client:
        for _ in range(5):
            check_id = client.submit(source="hook", uri=str(images / "b.png")).check_id
            [(published,)] = run(NOW)
            assert ended(check_id).verdict is not None
            [(before,)] = run(BEFORE, check_id, published)
            assert before <= 2 * CONCURRENCY, "what was running, and what had been fetched to run next"
    assert run(WAITING)[0][0] > 0, "the backfill waited all the time"


def test_in_a_lane_a_flood_delays_another_source_by_no_more_than_redis_holds(
    processes: Processes,
    settings: Settings,
    images: Path,
    store: Store,
    run: Sql,
    ended: Callable[[UUID], CheckDetails],
) -> None:
    image = str(images / "a.png")
    submit_all(store, (submission(source="flood", uri=image) for _ in range(4000)))
    processes.start_reconciler()
    processes.start_worker(SUSY_CONCURRENCY=str(CONCURRENCY))
    processes.eventually(lambda: run(DONE)[0][0] > 20)
    with Client(settings) as client:
        check_id = client.submit(source="hook", uri=str(images / "b.png")).check_id
        [(published,)] = run(NOW)
        assert ended(check_id).verdict is not None
    [(before,)] = run(BEFORE, check_id, published)
    assert before < 1000
    assert run(WAITING)[0][0] > 1000
