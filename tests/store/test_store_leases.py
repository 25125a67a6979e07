from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest

from schema.states import CheckState, Lane
from tests.support.databases import Sql
from tests.support.ledger import claimed, done, submission
from worker.errors import ErrorCode
from worker.store import Claim, Failure, Store

EXPIRE = "UPDATE susy.checks SET lease_until = now() - interval '1 second'"


def take(store: Store, claim: Claim, max_attempts: int = 5) -> Claim | None:
    return store.claim(claim.check_id, worker="worker-2", lease=60, max_attempts=max_attempts)


def test_a_claim_tells_the_worker_what_to_do(store: Store) -> None:
    check_id = store.submit(
        submission(external_id="upload-1", lane=Lane.BACKFILL, policy="strict", attributes={"a": 1})
    ).check_id
    claim = store.claim(check_id, worker="worker-1", lease=60, max_attempts=5)
    assert claim is not None
    assert claim == Claim(
        check_id=check_id,
        lease_token=claim.lease_token,
        attempt=1,
        source="avatars",
        external_id="upload-1",
        uri="/images/1.jpg",
        lane=Lane.BACKFILL,
        policy="strict",
        attributes={"a": 1},
    )
    view = store.show(check_id)
    assert (view.state, view.attempts, view.worker) == (CheckState.RUNNING, 1, "worker-1")
    assert view.started_at is not None


def test_of_a_hundred_workers_that_claim_one_check_exactly_one_wins(database_url: str) -> None:
    with Store(database_url, pool_size=20) as store, ThreadPoolExecutor(100) as workers:
        check_id = store.submit(submission()).check_id
        together = threading.Barrier(100)

        def claim(n: int) -> Claim | None:
            together.wait()
            return store.claim(check_id, worker=f"worker-{n}", lease=60, max_attempts=5)

        claims = [claim for claim in workers.map(claim, range(100)) if claim]
        assert len(claims) == 1
        assert store.show(check_id).attempts == 1


def test_a_check_that_is_held_done_or_unknown_cannot_be_claimed(store: Store) -> None:
    assert take(store, claimed(store)) is None
    assert take(store, done(store)) is None
    assert store.claim(uuid4(), worker="worker-1", lease=60, max_attempts=5) is None


def test_a_check_whose_lease_expired_is_claimed_under_a_new_token(store: Store, run: Sql) -> None:
    lost = claimed(store)
    run(EXPIRE)
    claim = take(store, lost)
    assert claim is not None
    assert claim.attempt == 2
    assert claim.lease_token != lost.lease_token
    assert store.show(lost.check_id).worker == "worker-2"


def test_a_check_whose_attempts_are_used_up_cannot_be_claimed(store: Store, run: Sql) -> None:
    lost = claimed(store)
    run(EXPIRE)
    assert take(store, lost, max_attempts=1) is None
    assert take(store, lost, max_attempts=2) is not None


def test_renewing_extends_only_what_is_still_ours(store: Store, run: Sql) -> None:
    lost, ours, finished = claimed(store), claimed(store), done(store)
    run(EXPIRE + " WHERE id = %s", lost.check_id)
    theirs = take(store, lost)
    assert theirs is not None
    assert store.renew([lost, ours, finished], 60) == {ours.lease_token}
    assert not store.renew([lost], 60)
    assert store.renew([theirs], 60)
    assert store.renew([], 60) == frozenset()


def test_a_lease_that_expired_unnoticed_can_be_renewed(store: Store, run: Sql) -> None:
    claim = claimed(store)
    run(EXPIRE)
    assert store.renew([claim], 60)
    assert take(store, claim) is None


def test_a_renewal_lasts_from_now(store: Store, run: Sql) -> None:
    store.renew([claimed(store)], 1000)
    [(left,)] = run("SELECT extract(epoch FROM lease_until - now())::float FROM susy.checks")
    assert left == pytest.approx(1000, abs=30)


def test_renewing_leaves_every_index_alone(store: Store, run: Sql) -> None:
    claim = claimed(store)
    run("BEGIN")
    run("UPDATE susy.checks SET lease_until = lease_until + interval '1 minute' WHERE id = %s", claim.check_id)
    counted = "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_xact_user_tables WHERE relid = 'susy.checks'::regclass"
    assert run(counted) == [(1, 1)]
    run("ROLLBACK")


def test_a_transient_failure_waits_for_its_next_attempt(store: Store, run: Sql) -> None:
    claim = claimed(store)
    store.mark_dispatched([claim.check_id])
    assert store.fail(claim, code=ErrorCode.OUT_OF_MEMORY, message="no memory", retry_in=100)
    view = store.show(claim.check_id)
    assert (view.state, view.attempts, view.dispatched_at, view.finished_at) == (CheckState.QUEUED, 1, None, None)
    assert view.error == Failure("out_of_memory", "no memory")
    assert take(store, claim) is None
    run("UPDATE susy.checks SET next_attempt_at = now()")
    again = take(store, claim)
    assert again is not None
    assert again.attempt == 2


def test_a_failure_for_good_is_quarantined_with_its_reason(store: Store) -> None:
    claim = claimed(store)
    assert store.fail(claim, code=ErrorCode.CORRUPT, message="bad\x00header" + "x" * 5000, retry_in=None)
    view = store.show(claim.check_id)
    assert view.state is CheckState.QUARANTINED
    assert view.finished_at is not None
    assert view.error is not None
    assert view.error.code == "corrupt"
    assert view.error.message.startswith("bad\N{REPLACEMENT CHARACTER}headerxxx")
    assert len(view.error.message) == 2000
    assert take(store, claim) is None


@pytest.mark.parametrize("retry_in", [None, 0.0])
def test_failing_with_a_lost_lease_changes_nothing(store: Store, run: Sql, retry_in: float | None) -> None:
    lost = claimed(store)
    run(EXPIRE)
    assert take(store, lost) is not None
    assert not store.fail(lost, code=ErrorCode.CORRUPT, message="late", retry_in=retry_in)
    assert not store.release(lost)
    view = store.show(lost.check_id)
    assert (view.state, view.worker, view.error) == (CheckState.RUNNING, "worker-2", None)


def test_a_released_check_is_due_at_once_and_the_attempt_does_not_count(store: Store) -> None:
    claim = claimed(store)
    assert store.release(claim)
    view = store.show(claim.check_id)
    assert (view.state, view.attempts, view.dispatched_at) == (CheckState.QUEUED, 0, None)
    again = take(store, claim)
    assert again is not None
    assert again.attempt == 1
