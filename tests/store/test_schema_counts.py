"""The dashboards' counts per minute and day: exact before and after the reconciler folds them."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import pytest

from schema.examination import ShadowVerdict
from schema.states import Decision, Lane
from tests.support.databases import Sql
from tests.support.ledger import POLICY_DOCUMENT, SCAN, VERDICT, calm, claimed, done, examination, submission
from worker.errors import ErrorCode
from worker.store import CheckFilter, Store

AUTHENTIC = calm(replace(VERDICT, decision=Decision.AUTHENTIC, generator=None, generator_confidence=None))


def by_source(run: Sql) -> list[tuple[Any, ...]]:
    return run(
        "SELECT source, decision, checks, needs_review FROM dashboard.decisions_by_source_day"
        " WHERE day = (now() AT TIME ZONE 'UTC')::date ORDER BY source, decision"
    )


def test_a_day_counts_live_verdicts_by_source_and_decision_folded_or_not(store: Store, run: Sql) -> None:
    done(store)
    done(store, source="chat")
    done(store, source="chat", verdict=AUTHENTIC, content="c" * 64)
    expected = [("avatars", "synthetic", 1, 1), ("chat", "authentic", 1, 0), ("chat", "synthetic", 1, 1)]
    assert by_source(run) == expected
    store.fold_decisions(limit=2)
    assert run("SELECT count(*) FROM susy.decision_changes") == [(1,)]
    assert by_source(run) == expected
    store.fold_decisions(limit=10)
    store.fold_decisions(limit=10)
    assert run("SELECT count(*) FROM susy.decision_changes") == [(0,)]
    assert by_source(run) == expected


def test_a_replaced_verdict_moves_its_check_to_the_new_decision(store: Store, run: Sql) -> None:
    claim = done(store)
    store.fold_decisions(limit=10)
    run("UPDATE susy.verdicts SET mode = 'shadow' WHERE check_id = %s", claim.check_id)
    assert by_source(run) == []
    run(
        "UPDATE susy.verdicts SET mode = 'live', decision = 'inconclusive', needs_review = false WHERE check_id = %s",
        claim.check_id,
    )
    assert by_source(run) == [("avatars", "inconclusive", 1, 0)]
    store.fold_decisions(limit=10)
    assert by_source(run) == [("avatars", "inconclusive", 1, 0)]


def test_a_review_and_a_deleted_verdict_leave_the_counts_as_they_are(store: Store, run: Sql) -> None:
    claim = done(store)
    store.add_review(claim.check_id, reviewer="ada", decision=Decision.AUTHENTIC)
    assert run("SELECT count(*) FROM susy.decision_changes") == [(1,)]
    run("DELETE FROM susy.verdicts")
    assert by_source(run) == [("avatars", "synthetic", 1, 1)]


def test_shadow_verdicts_are_not_counted(store: Store, run: Sql) -> None:
    shadow = ShadowVerdict(replace(VERDICT, policy=replace(VERDICT.policy, version="ffffff")), POLICY_DOCUMENT)
    claim = claimed(store)
    store.record(claim, replace(examination(SCAN), shadows=(shadow,)))
    assert run("SELECT count(*) FROM susy.verdicts") == [(2,)]
    assert by_source(run) == [("avatars", "synthetic", 1, 1)]


def test_generators_are_counted_per_day_without_checks_that_have_none(store: Store, run: Sql) -> None:
    done(store)
    done(store, verdict=replace(VERDICT, decision=Decision.INCONCLUSIVE), content="c" * 64)
    done(store, verdict=AUTHENTIC, content="d" * 64)
    store.fold_decisions(limit=2)
    rows = run("SELECT source, is_demo, generator, checks, synthetic FROM dashboard.generators_by_day")
    assert rows == [("avatars", SCAN.model.is_demo, "alpha", 2, 1)]


def test_the_minute_counts_what_was_accepted_and_what_ended(store: Store, run: Sql) -> None:
    done(store)
    store.fail(claimed(store, lane=Lane.BACKFILL), code=ErrorCode.CORRUPT, message="no", retry_in=None)
    store.submit(submission())
    store.cancel(CheckFilter(), limit=1)
    store.submit(submission(expires_at="2020-01-01T00:00:00Z"))
    store.expire(limit=1)
    rows = run(
        "SELECT lane, sum(accepted)::int, sum(done)::int, sum(quarantined)::int, sum(cancelled)::int,"
        " sum(expired)::int FROM dashboard.throughput_by_minute WHERE minute > now() - interval '5 minutes'"
        " GROUP BY lane ORDER BY lane"
    )
    assert rows == [("backfill", 1, 0, 1, 0, 0), ("live", 3, 1, 0, 1, 1)]
    assert run("SELECT count(*), count(DISTINCT minute) FROM dashboard.throughput_by_minute") == [(2880, 1440)]


@pytest.mark.timeout(60)
def test_folding_beside_recording_loses_no_count(store: Store, run: Sql) -> None:
    stopped = threading.Event()

    def fold() -> None:
        while not stopped.is_set():
            store.fold_decisions(limit=3)

    folder = threading.Thread(target=fold)
    folder.start()
    for _ in range(20):
        done(store)
    stopped.set()
    folder.join()
    assert by_source(run) == [("avatars", "synthetic", 20, 20)]
