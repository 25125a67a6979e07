"""A paused lane waits in the ledger, whatever is in Redis, and resumes without a restart."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import UUID

import pytest
import redis

from schema.states import CheckState, Lane
from tests.support.commands import Processes, Susy
from tests.support.databases import Sql
from tests.support.ledger import backfill, claimed, submission
from worker.client import Client
from worker.queue.dispatcher import LaneDispatcher
from worker.queue.publisher import Publisher
from worker.queue.reconciler import reconcile
from worker.settings import Settings
from worker.store import CheckDetails, Store

Ended = Callable[[UUID], CheckDetails]


@pytest.fixture
def command_variables(database_url: str, redis_url: str) -> dict[str, str]:
    return {"SUSY_DATABASE_URL": database_url, "SUSY_REDIS_URL": redis_url}


def test_what_was_published_and_submitted_waits_for_the_lane_and_is_done_after_it_is_resumed(
    processes: Processes, settings: Settings, images: Path, store: Store, run: Sql, ended: Ended
) -> None:
    with Client(settings) as client:

        def submit(lane: Lane, number: int) -> UUID:
            receipt = client.submit(source=f"s{number % 3}", uri=str(images / "small.png"), lane=lane)
            return receipt.check_id

        before = [submit(Lane.BACKFILL, number) for number in range(50)]
        assert processes.run("backlog", "pause", "backfill").code == 0
        processes.start_worker()
        processes.start_reconciler()
        during = [submit(Lane.BACKFILL, number) for number in range(50)]
        assert ended(submit(Lane.LIVE, 0)).state is CheckState.DONE, "the other lane is served"
        # The messages that Redis held are dropped, and every check waits in the ledger.
        sent = "SELECT count(*) FROM susy.checks WHERE dispatched_at IS NOT NULL AND state = 'queued'"
        processes.eventually(lambda: run(sent) == [(0,)])
        assert run("SELECT count(*), sum(attempts) FROM susy.checks WHERE lane = 'backfill'") == [(100, 0)]
        assert run("SELECT queued, running, paused_at IS NULL FROM dashboard.backlog ORDER BY lane") == [
            (100, 0, False),
            (0, 0, True),
        ]
        assert processes.run("backlog", "resume", "backfill").code == 0
        for check_id in [*before, *during]:
            assert ended(check_id).state is CheckState.DONE
    assert run("SELECT max(attempts) FROM susy.checks") == [(1,)]
    assert "messages_lost" not in processes.output()


def test_a_lane_is_paused_and_resumed_over_and_over_and_loses_nothing(
    processes: Processes, settings: Settings, images: Path, store: Store, run: Sql
) -> None:
    processes.start_worker()
    processes.start_worker()
    processes.start_reconciler()
    with Client(settings) as client, ThreadPoolExecutor(2) as pool:
        flood = pool.submit(
            lambda: [client.submit(source="s", uri=str(images / "small.png")).check_id for _ in range(150)]
        )
        for _ in range(6):
            store.pause(Lane.LIVE)
            time.sleep(0.15)
            store.resume(Lane.LIVE)
            time.sleep(0.15)
        assert len(flood.result()) == 150
    ends = "SELECT state, count(*), max(attempts) FROM susy.checks GROUP BY state"
    processes.eventually(lambda: run(ends) == [("done", 150, 1)])
    assert run("SELECT count(*) FROM susy.verdicts") == [(150,)]


def test_no_check_of_a_paused_lane_is_claimed_and_a_running_one_is_finished(store: Store) -> None:
    held = claimed(store)
    waiting = store.submit(submission()).check_id
    assert store.pause(Lane.LIVE)
    assert not store.pause(Lane.LIVE)
    assert store.claim(waiting, worker="w", lease=60, max_attempts=5) is None
    assert store.renew([held], 60) == {held.lease_token}
    assert store.release(held)
    assert store.claim(held.check_id, worker="w", lease=60, max_attempts=5) is None
    other = store.submit(backfill()).check_id
    assert store.claim(other, worker="w", lease=60, max_attempts=5) is not None
    assert store.resume(Lane.LIVE)
    assert not store.resume(Lane.LIVE)
    assert store.claim(waiting, worker="w", lease=60, max_attempts=5) is not None


def test_a_suspect_of_a_paused_lane_makes_no_worker_stop_for_it(store: Store, run: Sql) -> None:
    claim = claimed(store)
    run("UPDATE susy.checks SET lease_until = now() - interval '1 s'")
    assert store.is_suspect(claim.check_id)
    store.pause(Lane.LIVE)
    assert not store.is_suspect(claim.check_id)
    assert store.claim(claim.check_id, worker="w", lease=60, max_attempts=5) is None
    assert store.reclaim_expired(max_attempts=5, limit=10).requeued == 1


def test_the_dispatcher_publishes_nothing_of_a_paused_lane_and_all_of_it_afterwards(
    store: Store, publisher: Publisher, settings: Settings, redis_url: str, run: Sql
) -> None:
    dispatcher = LaneDispatcher(Lane.BACKFILL)
    checks = [store.submit(backfill()).check_id for _ in range(3)]
    store.pause(Lane.BACKFILL)
    reconcile(store, publisher, settings, [dispatcher])
    assert publisher.depth(Lane.BACKFILL) == 0
    store.resume(Lane.BACKFILL)
    reconcile(store, publisher, settings, [dispatcher])
    assert publisher.depth(Lane.BACKFILL) == 3
    # A worker that serves the lane drops the messages while it is paused; Redis may lose them as well.
    store.pause(Lane.BACKFILL)
    with redis.Redis.from_url(redis_url) as client:
        client.flushdb()
    store.resume(Lane.BACKFILL)
    reconcile(store, publisher, settings, [LaneDispatcher(Lane.BACKFILL)])
    assert publisher.depth(Lane.BACKFILL) == len(checks), "at once, and not when the messages count as lost"


def test_the_commands_say_what_they_changed_and_status_and_doctor_show_it(susy: Susy, store: Store) -> None:
    assert susy("backlog", "pause", "backfill").stdout == "backfill is paused\n"
    assert susy("backlog", "pause", "backfill").stdout == "backfill was paused before\n"
    live, paused = susy("backlog", "status", "--json").document["lanes"]
    assert live["paused_at"] is None
    assert paused["paused_at"].endswith("+00:00")
    assert "backfill (paused)" in susy("backlog", "status").stdout
    assert "paused by an operator: backfill" in susy("doctor").stdout
    assert susy("backlog", "resume", "backfill").stdout == "backfill is served again\n"
    assert susy("backlog", "resume", "backfill").stdout == "backfill was not paused\n"
    assert "(paused)" not in susy("backlog", "status").stdout
    assert susy("backlog", "pause", "express").code == 2
