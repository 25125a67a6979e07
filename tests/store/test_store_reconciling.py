from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest

from schema.states import CheckState, Lane
from tests.support.databases import Sql
from tests.support.ledger import claimed, done, submission, submit_all
from tests.support.waiting import eventually
from worker.errors import ErrorCode
from worker.store import CheckFilter, Failure, QuarantineCount, ReclaimResult, Store

EXPIRE = "UPDATE susy.checks SET lease_until = now() - interval '1 second' WHERE state = 'running'"


def submit(store: Store, count: int, lane: Lane = Lane.LIVE) -> list[UUID]:
    return [receipt.check_id for receipt in submit_all(store, (submission(lane=lane) for _ in range(count)))]


def take(store: Store, lane: Lane = Lane.LIVE, limit: int = 100) -> list[UUID]:
    return store.take_due(lane, limit=limit)


def test_what_was_never_published_is_taken_once_oldest_first(store: Store) -> None:
    ids = submit(store, 5)
    assert take(store, limit=3) == ids[:3]
    assert take(store) == ids[3:]
    assert take(store) == []
    assert store.show(ids[0]).dispatched_at is not None


def test_lanes_are_taken_apart(store: Store) -> None:
    [live], [later] = submit(store, 1), submit(store, 1, Lane.BACKFILL)
    assert take(store, Lane.BACKFILL) == [later]
    assert take(store, Lane.LIVE) == [live]


def test_what_was_published_is_taken_again_once_its_message_is_given_up(store: Store, run: Sql) -> None:
    first, second = submit(store, 2)
    store.mark_dispatched([first, second])
    assert take(store) == []
    run("UPDATE susy.checks SET dispatched_at = now() - interval '61 seconds' WHERE id = %s", second)
    assert store.forget_dispatched(Lane.BACKFILL, age=60, limit=10) == 0
    assert store.forget_dispatched(Lane.LIVE, age=60, limit=10) == 1
    assert take(store) == [second]
    assert take(store) == []


def test_sources_are_taken_in_turn_each_ones_oldest_first(store: Store) -> None:
    flood = submit(store, 50)
    few = [store.submit(submission(source="few")).check_id for _ in range(2)]
    other = store.submit(submission(source="other")).check_id
    assert take(store, limit=6) == [flood[0], few[0], other, flood[1], few[1], flood[2]]


def test_many_sources_share_a_small_step(store: Store) -> None:
    firsts = [submit_all(store, (submission(source=f"s{n}") for _ in range(3)))[0].check_id for n in range(40)]
    taken = take(store, limit=4)
    assert taken == firsts[:4], "the longest-waiting sources come first"
    while taken:
        taken = take(store, limit=7)
    assert store.status().lanes[0].queued == 120


def test_only_what_is_queued_and_due_is_taken(store: Store) -> None:
    claimed(store)
    done(store)
    store.fail(claimed(store), code=ErrorCode.UNREADABLE, message="later", retry_in=60)
    store.fail(claimed(store), code=ErrorCode.CORRUPT, message="never", retry_in=None)
    again = claimed(store)
    store.fail(again, code=ErrorCode.UNREADABLE, message="now", retry_in=0)
    assert take(store) == [again.check_id]


def test_two_that_take_together_never_take_the_same(store: Store) -> None:
    ids = submit(store, 200)
    together = threading.Barrier(4)

    def lead(_: int) -> list[UUID]:
        together.wait()
        return [check_id for some in iter(lambda: take(store, limit=10), []) for check_id in some]

    with ThreadPoolExecutor(4) as leaders:
        taken = [check_id for each in leaders.map(lead, range(4)) for check_id in each]
    assert sorted(taken) == ids


def test_one_leads_and_the_next_may_when_it_ends(database_url: str, store: Store) -> None:
    with Store(database_url, pool_size=1) as other:
        with store.lead() as leading, other.lead() as also:
            assert (leading, also) == (True, False)
        with other.lead() as leading:
            assert leading


def test_a_leader_that_fails_lets_go(store: Store) -> None:
    with pytest.raises(ZeroDivisionError), store.lead():
        raise ZeroDivisionError

    def leads() -> bool:
        with store.lead() as leading:
            return leading

    eventually(leads, 10)


def test_a_leader_that_ends_a_round_can_begin_the_next_at_once(store: Store) -> None:
    for _ in range(20):
        with store.lead() as leading:
            assert leading


def test_a_check_whose_worker_went_silent_is_due_again(store: Store, run: Sql) -> None:
    claim = claimed(store)
    store.mark_dispatched([claim.check_id])
    assert store.reclaim_expired(max_attempts=5, limit=10) == ReclaimResult(requeued=0, quarantined=0)
    run(EXPIRE)
    assert store.reclaim_expired(max_attempts=5, limit=10) == ReclaimResult(requeued=1, quarantined=0)
    view = store.show(claim.check_id)
    assert (view.state, view.attempts, view.dispatched_at) == (CheckState.QUEUED, 1, None)
    assert view.error == Failure("lease_expired", "worker-1 stopped renewing its lease in attempt 1")
    assert take(store) == [claim.check_id]


def test_a_check_that_silenced_its_last_worker_is_quarantined(store: Store, run: Sql) -> None:
    claim = claimed(store)
    run(EXPIRE)
    assert store.reclaim_expired(max_attempts=1, limit=10) == ReclaimResult(requeued=0, quarantined=1)
    view = store.show(claim.check_id)
    assert view.state is CheckState.QUARANTINED
    assert view.error is not None
    assert view.error.code == "lease_expired"


def test_a_waiting_check_is_quarantined_when_the_bound_of_attempts_was_lowered(store: Store) -> None:
    claim = claimed(store)
    store.fail(claim, code=ErrorCode.OUT_OF_MEMORY, message="no memory", retry_in=0)
    assert store.reclaim_expired(max_attempts=2, limit=10) == ReclaimResult(requeued=0, quarantined=0)
    assert store.reclaim_expired(max_attempts=1, limit=10) == ReclaimResult(requeued=0, quarantined=1)
    assert store.show(claim.check_id).error == Failure("out_of_memory", "no memory")


def test_freeing_is_bounded(store: Store, run: Sql) -> None:
    for _ in range(3):
        claimed(store)
    run(EXPIRE)
    assert store.reclaim_expired(max_attempts=5, limit=2).requeued == 2
    assert store.reclaim_expired(max_attempts=5, limit=2).requeued == 1


def test_two_that_free_together_free_each_check_once(store: Store, run: Sql) -> None:
    for _ in range(20):
        claimed(store)
    run(EXPIRE)
    together = threading.Barrier(4)

    def lead(_: int) -> int:
        together.wait()
        return sum(store.reclaim_expired(max_attempts=5, limit=5).requeued for _ in range(6))

    with ThreadPoolExecutor(4) as leaders:
        assert sum(leaders.map(lead, range(4))) == 20


def test_a_check_that_someone_is_about_to_change_is_left_for_later(store: Store, database_url: str, run: Sql) -> None:
    claim = claimed(store)
    run(EXPIRE)
    run("BEGIN")
    run("SELECT FROM susy.checks WHERE id = %s FOR UPDATE", claim.check_id)
    assert store.reclaim_expired(max_attempts=5, limit=10).requeued == 0
    run("ROLLBACK")
    assert store.reclaim_expired(max_attempts=5, limit=10).requeued == 1


def test_quarantined_checks_are_put_back_with_all_their_attempts(store: Store) -> None:
    corrupt, unreadable = claimed(store), claimed(store)
    store.fail(corrupt, code=ErrorCode.CORRUPT, message="bad", retry_in=None)
    store.fail(unreadable, code=ErrorCode.UNREADABLE, message="disk", retry_in=None)
    assert store.status().quarantined == (QuarantineCount("corrupt", 1), QuarantineCount("unreadable", 1))
    assert store.requeue(CheckState.QUARANTINED, CheckFilter(code="unreadable")) == 1
    view = store.show(unreadable.check_id)
    assert (view.state, view.attempts, view.finished_at) == (CheckState.QUEUED, 0, None)
    assert store.requeue(CheckState.QUARANTINED, CheckFilter(check_ids=[unreadable.check_id])) == 0
    assert store.requeue(CheckState.QUARANTINED, CheckFilter(check_ids=[corrupt.check_id])) == 1
    assert set(take(store)) == {corrupt.check_id, unreadable.check_id}


def test_only_queued_checks_are_cancelled(store: Store) -> None:
    running, finished = claimed(store), done(store)
    live, later = submit(store, 1)[0], submit(store, 2, Lane.BACKFILL)
    assert store.cancel(CheckFilter(lane=Lane.BACKFILL), limit=1) == 1
    assert store.cancel(CheckFilter(lane=Lane.BACKFILL)) == 1
    assert {store.show(check_id).state for check_id in later} == {CheckState.CANCELLED}
    assert store.cancel(CheckFilter(check_ids=[running.check_id, finished.check_id, live])) == 1
    assert store.claim(live, worker="worker-1", lease=60, max_attempts=5) is None


def test_the_backlog_counts_each_lane(store: Store, run: Sql) -> None:
    backlog = "SELECT lane, queued, due, running, oldest_age_seconds FROM dashboard.backlog ORDER BY lane DESC"
    assert run(backlog) == [("live", 0, 0, 0, None), ("backfill", 0, 0, 0, None)]
    claimed(store)
    submit(store, 2, Lane.BACKFILL)
    store.fail(claimed(store, lane=Lane.BACKFILL), code=ErrorCode.UNREADABLE, message="disk", retry_in=60)
    run("UPDATE susy.checks SET next_attempt_at = next_attempt_at - interval '1 hour' WHERE attempts = 0")
    live, (*backfill, oldest_age) = run(backlog)
    assert live == ("live", 0, 0, 1, None)
    assert backfill == ["backfill", 3, 2, 0]
    assert oldest_age == pytest.approx(3600, abs=60)
