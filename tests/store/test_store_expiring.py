"""Deadlines of checks: what is too late is never claimed, and ends as expired."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from schema.states import CheckState, Lane
from tests.support.databases import Sql
from tests.support.ledger import claimed, done, submission, submit_all
from worker.errors import ErrorCode
from worker.store import CheckFilter, Claim, ReclaimResult, Store

LATE = "UPDATE susy.checks SET expires_at = now() - interval '1 second'"
LEASE_OVER = "UPDATE susy.checks SET lease_until = now() - interval '1 second'"


def soon(**changes: object) -> object:
    return submission(expires_at=datetime.now(UTC) + timedelta(minutes=5), **changes)


def claim(store: Store, check_id: UUID, *, suspects: bool = True) -> Claim | None:
    return store.claim(check_id, worker="worker-1", lease=60, max_attempts=5, suspects=suspects)


def test_a_deadline_is_stored_to_the_microsecond_and_shown(store: Store, run: Sql) -> None:
    deadline = datetime(2031, 1, 31, 9, 0, 0, 123457, UTC)
    check_id = store.submit(submission(expires_at=deadline)).check_id
    assert store.show(check_id).expires_at == deadline
    assert run("SELECT expires_at FROM dashboard.checks") == [(deadline,)]
    assert store.show(store.submit(submission()).check_id).expires_at is None


def test_a_check_is_claimed_before_its_deadline_and_not_after(store: Store, run: Sql) -> None:
    early, late = (store.submit(soon()).check_id for _ in range(2))  # type: ignore[arg-type]
    assert claim(store, early) is not None
    run(LATE)
    assert claim(store, late) is None
    assert claim(store, late, suspects=False) is None
    assert store.expire(late) == 1
    view = store.show(late)
    assert (view.state, view.attempts, view.started_at, view.error) == (CheckState.EXPIRED, 0, None, None)
    assert view.finished_at is not None
    assert store.expire(late) == 0


def test_only_what_waits_and_is_late_expires(store: Store, run: Sql) -> None:
    running, finished = claimed(store), done(store)
    broken = claimed(store)
    store.fail(broken, code=ErrorCode.CORRUPT, message="bad", retry_in=None)
    run(LATE)
    in_time, without = store.submit(soon()).check_id, store.submit(submission()).check_id  # type: ignore[arg-type]
    assert store.expire(limit=10) == 0
    assert [store.expire(check_id) for check_id in (running.check_id, finished.check_id, in_time, without)] == [0] * 4
    assert store.show(running.check_id).state is CheckState.RUNNING


def test_a_running_check_is_finished_though_its_deadline_passes(store: Store, run: Sql) -> None:
    running = claimed(store)
    run(LATE)
    assert store.renew([running], 60)
    assert store.release(running), "a stopping worker returns it"
    assert store.expire(limit=10) == 1


def test_a_late_check_of_a_lost_worker_is_not_attempted_again(store: Store, run: Sql) -> None:
    lost = claimed(store)
    run(LATE)
    run(LEASE_OVER)
    assert claim(store, lost.check_id) is None
    assert not store.is_suspect(lost.check_id), "nobody waits for its turn alone"
    assert store.reclaim_expired(max_attempts=5, limit=10) == ReclaimResult(requeued=1, quarantined=0)
    assert store.expire(limit=10) == 1
    view = store.show(lost.check_id)
    assert (view.state, view.attempts) == (CheckState.EXPIRED, 1)
    assert view.error is not None
    assert view.error.code == "lease_expired"


def test_expiring_is_bounded_and_begins_with_the_earliest_deadline(store: Store, run: Sql) -> None:
    ids = [receipt.check_id for receipt in submit_all(store, (soon(lane=lane) for lane in (*Lane, Lane.LIVE)))]  # type: ignore[misc]
    for number, check_id in enumerate(ids):
        run("UPDATE susy.checks SET expires_at = now() - %s * interval '1 minute' WHERE id = %s", number + 1, check_id)
    assert store.expire(limit=1) == 1
    assert store.show(ids[2]).state is CheckState.EXPIRED
    assert store.expire(limit=10) == 2
    assert store.expire(limit=10) == 0


def test_of_a_claim_and_an_expiry_that_meet_exactly_one_wins(store: Store, run: Sql) -> None:
    ids = [receipt.check_id for receipt in submit_all(store, (soon() for _ in range(60)))]  # type: ignore[misc]
    run("UPDATE susy.checks SET expires_at = clock_timestamp() + interval '50 ms'")
    together = threading.Barrier(3)

    def work(name: str) -> int:
        together.wait()
        claims = [store.claim(check_id, worker=name, lease=60, max_attempts=5) for check_id in ids]
        return sum(claim is not None for claim in claims)

    def expire() -> int:
        together.wait()
        total = 0
        while len(ids) > total + run_count(store):
            total += store.expire(limit=7)
        return total

    with ThreadPoolExecutor(3) as pool:
        claims = [pool.submit(work, f"worker-{n}") for n in range(2)]
        expiry = pool.submit(expire)
    assert sum(future.result() for future in claims) + expiry.result() == len(ids)
    counts = {state: store.count(state, CheckFilter()) for state in (CheckState.RUNNING, CheckState.EXPIRED)}
    assert counts == {
        CheckState.RUNNING: sum(future.result() for future in claims), CheckState.EXPIRED: expiry.result(),
    }  # fmt: skip


def run_count(store: Store) -> int:
    return store.count(CheckState.RUNNING, CheckFilter())


def test_a_row_that_another_session_holds_is_left_for_the_next_round(store: Store, run: Sql) -> None:
    held, free = (store.submit(soon()).check_id for _ in range(2))  # type: ignore[arg-type]
    run(LATE)
    run("BEGIN")
    run("SELECT FROM susy.checks WHERE id = %s FOR UPDATE", held)
    assert store.expire(limit=10) == 1
    assert store.show(free).state is CheckState.EXPIRED
    run("ROLLBACK")
    assert store.expire(limit=10) == 1


@pytest.mark.parametrize("state", [CheckState.EXPIRED, CheckState.CANCELLED, CheckState.QUARANTINED])
def test_a_requeued_check_has_no_deadline_that_has_passed(store: Store, run: Sql, state: CheckState) -> None:
    late, later = (store.submit(soon()).check_id for _ in range(2))  # type: ignore[arg-type]
    run("UPDATE susy.checks SET state = %s, finished_at = now(), error_code = 'corrupt'", str(state))
    run(LATE + " WHERE id = %s", late)
    assert store.requeue(state, CheckFilter()) == 2
    assert store.expire(limit=10) == 0
    assert (store.show(late).expires_at, store.show(late).state) == (None, CheckState.QUEUED)
    assert store.show(later).expires_at is not None
    assert claim(store, late) is not None


def test_expired_checks_are_counted_apart(store: Store, run: Sql) -> None:
    submit_all(store, (soon(lane=lane) for lane in (Lane.LIVE, Lane.LIVE, Lane.BACKFILL)))  # type: ignore[misc]
    assert store.status().expired == 0
    run(LATE)
    store.expire(limit=10)
    status = store.status()
    assert (status.expired, status.quarantined, [lane.queued for lane in status.lanes]) == (3, (), [0, 0])
    assert run("SELECT lane, queued, expired FROM dashboard.backlog ORDER BY lane") == [
        ("backfill", 0, 1),
        ("live", 0, 2),
    ]


def test_the_late_are_found_by_their_index_among_a_million_without_deadline(store: Store, run: Sql) -> None:
    run(
        "INSERT INTO susy.checks (id, source, external_id, uri, lane)"
        " SELECT gen_random_uuid(), 'old', i::text, '/images/1.jpg', 'live' FROM generate_series(1, 20000) AS i"
    )
    store.analyze()
    from tests.store.test_queries import explain
    from worker.store import queries

    for check_id, index in ((None, "ix_checks_expiring"), (UUID(int=1), "pk_checks")):
        plan = explain(store, queries.EXPIRE, {"check_id": check_id, "limit": 500})
        assert index in plan
        assert "Seq Scan" not in plan
