"""Deleting old checks: what matches goes with all that belongs to it, and nothing else does."""

from __future__ import annotations

import itertools
import threading
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import psycopg
import pytest

from schema.states import CheckState, Decision, KeyKind
from tests.support.databases import Sql
from tests.support.ledger import SCAN, VERDICT, calm, claimed, done, examination, submission
from tests.support.moderating import Moderators
from tests.support.waiting import eventually
from worker.errors import ErrorCode
from worker.store import CheckFilter, RecordOutcome, Store
from worker.store.callbacks import CallbackStore
from worker.store.pruning import Pruned, PruneFilter

AUTHENTIC = calm(replace(VERDICT, decision=Decision.AUTHENTIC, generator=None, generator_confidence=None))
FOREIGN_KEYS = """
    SELECT conrelid::regclass::text FROM pg_constraint
    WHERE contype = 'f' AND confrelid = 'susy.checks'::regclass AND confdeltype <> 'c' ORDER BY 1"""


def old(run: Sql, *check_ids: UUID, days: int = 100) -> None:
    for check_id in check_ids:
        run("UPDATE susy.checks SET finished_at = now() - make_interval(days => %s) WHERE id = %s", days, check_id)


def pruned(store: Store, batch: int = 10, **changes: object) -> Pruned:
    store.number_events()
    where = PruneFilter(store.now() - timedelta(days=90), **changes)  # type: ignore[arg-type]
    return sum(store.prune(where, batch=batch), Pruned())


def left(run: Sql) -> set[UUID]:
    return {check_id for (check_id,) in run("SELECT id FROM susy.checks")}


def test_a_check_goes_with_all_that_belongs_to_it_and_younger_ones_stay(store: Store, run: Sql) -> None:
    first, second, young = done(store), done(store, content="c" * 64), done(store, content="d" * 64)
    store.add_review(first.check_id, reviewer="ada", decision=Decision.SYNTHETIC)
    counts = run("SELECT * FROM dashboard.decisions_by_source_day")
    old(run, first.check_id, second.check_id)
    assert pruned(store) == Pruned(checks=2, verdicts=2, scans=2, reviews=1, events=3)
    assert left(run) == {young.check_id}
    for table in ("verdicts", "scans", "events"):
        assert run(f"SELECT count(*) FROM susy.{table}") == [(1,)], table
    assert run("SELECT count(*) FROM susy.reviews") == [(0,)]
    assert run("SELECT * FROM dashboard.decisions_by_source_day") == counts
    [(subject, details)] = run("SELECT subject, details FROM dashboard.audit_log WHERE kind = 'prune'")
    assert subject == "2"
    assert (details["verdicts"], details["scans"], details["reviews"], details["keep_reviewed"]) == (2, 2, 1, False)
    assert pruned(store) == Pruned()


def test_every_final_state_is_pruned_and_what_waits_or_runs_never(store: Store, run: Sql) -> None:
    finished = done(store).check_id
    broken = claimed(store)
    store.fail(broken, code=ErrorCode.CORRUPT, message="no", retry_in=None)
    late = store.submit(submission(expires_at="2020-01-01T00:00:00Z")).check_id
    store.expire(limit=1)
    cancelled = store.submit(submission()).check_id
    store.cancel(CheckFilter())
    running, waiting = claimed(store), store.submit(submission())
    run("UPDATE susy.checks SET created_at = now() - interval '1 year'")
    old(run, finished, broken.check_id, late, cancelled)
    assert pruned(store).checks == 4
    assert left(run) == {running.check_id, waiting.check_id}


def test_a_scan_stays_while_another_verdict_uses_it(store: Store, run: Sql) -> None:
    first, again = done(store), done(store)
    old(run, first.check_id)
    assert pruned(store) == Pruned(checks=1, verdicts=1, events=1)
    assert store.show(again.check_id).scan is not None
    old(run, again.check_id)
    assert pruned(store).scans == 1


def test_what_people_or_verdicts_decided_can_be_kept(store: Store, run: Sql) -> None:
    reviewed, synthetic = done(store, verdict=AUTHENTIC), done(store, content="c" * 64)
    plain = done(store, verdict=AUTHENTIC, content="d" * 64)
    store.add_review(reviewed.check_id, reviewer="ada", decision=Decision.SYNTHETIC)
    ids = [reviewed.check_id, synthetic.check_id, plain.check_id]
    old(run, *ids)
    assert pruned(store, keep_decisions=(Decision.SYNTHETIC,)).checks == 1
    assert left(run) == {reviewed.check_id, synthetic.check_id}
    assert pruned(store, keep_reviewed=True).checks == 1
    assert left(run) == {reviewed.check_id}


def test_a_case_of_the_regression_set_keeps_its_check(store: Store, run: Sql) -> None:
    case = done(store)
    store.add_review(case.check_id, reviewer="ada", decision=Decision.AUTHENTIC)
    assert run("SELECT count(*) FROM susy.cases") == [(1,)]
    old(run, case.check_id)
    assert pruned(store) == Pruned()
    assert left(run) == {case.check_id}


def test_a_check_whose_callback_waits_stays(store: Store, database_url: str, run: Sql) -> None:
    with CallbackStore(database_url) as callbacks:
        callbacks.add_endpoint(
            name="p", url="https://p.example", sources=["avatars"], allow_private=False, kind=KeyKind.HMAC,
            secret=b"s" * 32,
        )  # fmt: skip
    claim = done(store)
    old(run, claim.check_id)
    assert pruned(store) == Pruned()
    run("UPDATE susy.deliveries SET state = 'delivered', finished_at = now()")
    assert pruned(store) == Pruned(checks=1, verdicts=1, scans=1, events=1, deliveries=1)


def test_an_event_without_its_position_is_not_lost(store: Store, run: Sql) -> None:
    claim = done(store)
    old(run, claim.check_id)
    where = PruneFilter(store.now() - timedelta(days=90))
    assert sum(store.prune(where), Pruned()).checks == 0
    store.number_events()
    assert sum(store.prune(where), Pruned()).checks == 1


def test_batches_are_bounded_and_an_interrupted_run_continues(store: Store, run: Sql) -> None:
    claims = [done(store, content=f"{number:064x}") for number in range(7)]
    old(run, *(claim.check_id for claim in claims))
    store.number_events()
    where = PruneFilter(store.now() - timedelta(days=90))
    batches = store.prune(where, batch=3)
    assert next(batches).checks == 3
    batches.close()  # type: ignore[attr-defined]
    assert len(left(run)) == 4
    assert [batch.checks for batch in store.prune(where, batch=3)] == [3, 1]


def test_a_dry_run_counts_and_deletes_nothing(store: Store, run: Sql) -> None:
    claim = done(store)
    old(run, claim.check_id)
    store.number_events()
    where = PruneFilter(store.now() - timedelta(days=90))
    assert sum(store.prune(where, dry_run=True), Pruned()) == Pruned(checks=1)
    assert left(run) == {claim.check_id}
    assert run("SELECT count(*) FROM susy.operations") == [(0,)]


def test_a_scan_that_is_pruned_while_a_worker_relies_on_it_is_written_again(store: Store, run: Sql) -> None:
    first = done(store)
    claim = claimed(store)
    stored = store.find_scan(SCAN.content_sha256, SCAN.model, SCAN.tiling)
    assert stored is not None
    old(run, first.check_id)
    assert pruned(store).scans == 1
    assert store.record(claim, examination(SCAN, scan_id=stored.id)) is RecordOutcome.RECORDED
    assert store.show(claim.check_id).scan is not None


@pytest.mark.timeout(60)
def test_pruning_beside_recording_breaks_neither(store: Store, run: Sql) -> None:
    """The same content is pruned and recorded again all the time."""
    stopped = threading.Event()
    failures: list[BaseException] = []

    def keep_pruning() -> None:
        try:
            while not stopped.is_set():
                run("UPDATE susy.checks SET finished_at = now() - interval '100 days' WHERE state = 'done'")
                pruned(store)
        except BaseException as error:  # noqa: BLE001 (reported by the test's own thread)
            failures.append(error)

    pruner = threading.Thread(target=keep_pruning)
    pruner.start()
    try:
        for _ in range(30):
            stored = store.find_scan(SCAN.content_sha256, SCAN.model, SCAN.tiling)
            claim = claimed(store)
            outcome = store.record(claim, examination(SCAN, scan_id=stored.id if stored else None))
            assert outcome is RecordOutcome.RECORDED
    finally:
        stopped.set()
        pruner.join()
    assert failures == []
    assert run(
        "SELECT count(*) FROM susy.verdicts AS v WHERE NOT EXISTS (SELECT FROM susy.scans WHERE id = v.scan_id)"
    ) == [(0,)]


def test_reviews_can_be_deleted_by_pruning_alone(store: Store, run: Sql) -> None:
    claim = done(store)
    store.add_review(claim.check_id, reviewer="ada", decision=Decision.AUTHENTIC)
    with pytest.raises(psycopg.errors.RestrictViolation):
        run("DELETE FROM susy.reviews")
    run("SELECT set_config('susy.pruning', 'on', false)")
    for statement in ("UPDATE susy.reviews SET note = 'x'", "TRUNCATE susy.reviews", "DELETE FROM susy.policies"):
        with pytest.raises((psycopg.errors.RestrictViolation, psycopg.errors.FeatureNotSupported)):
            run(statement)


def test_every_table_that_refers_to_checks_is_pruned(run: Sql) -> None:
    deleted = {"review_claims", "undone_reviews", "reviews", "verdicts"}
    reasons_to_stay = {"golden_answers", "golden_changes"}
    assert {name.removeprefix("susy.") for (name,) in run(FOREIGN_KEYS)} == deleted | reasons_to_stay


def test_what_is_open_or_relied_on_stays_whatever_the_options(store: Store, run: Sql, moderators: Moderators) -> None:
    claimed_by_ada, golden = done(store, content="c" * 64), done(store, content="d" * 64)
    store.add_review(golden.check_id, reviewer="expert", decision=Decision.SYNTHETIC)
    store.reviews.add_golden(golden.check_id, by="grace", reason="known")
    claim = moderators.claim("ada")
    assert claim is not None
    assert claim["check_id"] == claimed_by_ada.check_id
    old(run, claimed_by_ada.check_id, golden.check_id)
    assert pruned(store) == Pruned()
    moderators.review(claim, "ada", "synthetic")
    assert pruned(store) == Pruned(checks=1, verdicts=1, scans=1, reviews=1, events=2)
    store.reviews.remove_golden(golden.check_id, by="grace", reason="old")
    assert pruned(store) == Pruned(), "what was said of golden items is never deleted"


def test_a_claim_passes_over_a_check_that_is_being_pruned(
    store: Store, run: Sql, moderators: Moderators, database_url: str
) -> None:
    dying = done(store, verdict=replace(VERDICT, score=0.99), content="c" * 64).check_id
    other = done(store, verdict=replace(VERDICT, score=0.5), content="d" * 64).check_id
    with psycopg.connect(database_url) as pruner:
        pruner.execute("SELECT FROM susy.checks WHERE id = %s FOR UPDATE", [dying])
        claim = moderators.claim("ada")
        assert claim is not None
        assert claim["check_id"] == other
        assert moderators.claim("ben") is None
        pruner.rollback()
    claim = moderators.claim("ben")
    assert claim is not None
    assert claim["check_id"] == dying


def test_each_combination_of_options_deletes_what_it_says(store: Store, run: Sql) -> None:
    """Against a model of the options, over every combination of them."""
    population: list[tuple[UUID, str, Decision, Decision | None, bool]] = []
    number = 0
    for source in ("avatars", "chat"):
        for verdict in (VERDICT, calm(), AUTHENTIC):
            for review in (None, verdict.decision):
                number += 1
                check_id = done(store, verdict=verdict, content=f"{number:064x}", source=source).check_id
                if review is not None:
                    store.add_review(check_id, reviewer="ada", decision=review)
                population.append((check_id, source, verdict.decision, review, verdict.needs_review and not review))
    undone = store.add_review(population[0][0], reviewer="ada", decision=Decision.SYNTHETIC)
    store.reviews.undo(undone, by="ada", reason="x")
    reviewed = {check_id for check_id, _, _, review, _ in population if review is not None} | {population[0][0]}
    old(run, *(check_id for check_id, *_ in population))
    store.number_events()
    before = store.now() - timedelta(days=90)
    kept = [(), (Decision.SYNTHETIC,), (Decision.AUTHENTIC, Decision.INCONCLUSIVE), tuple(Decision)]
    wheres = [
        PruneFilter(before, *options)
        for options in itertools.product((False, True), kept, (None, "avatars", "nobody"), (False, True))
    ]
    for where in wheres:
        expected = {
            check_id
            for check_id, source, decision, review, waits in population
            if where.source in (None, source)
            and not (where.keep_reviewed and check_id in reviewed)
            and not ({decision, review} & set(where.keep_decisions))
            and not (where.keep_waiting and waits)
        }
        assert sum(store.prune(where, dry_run=True), Pruned()).checks == len(expected), where
    last = PruneFilter(before, keep_reviewed=True, keep_decisions=(Decision.AUTHENTIC,), source="chat")
    assert sum(store.prune(last), Pruned()).checks == 2
    assert left(run) >= reviewed


CLONE = """
WITH number AS MATERIALIZED (SELECT gen_random_uuid() AS id FROM generate_series(1, %s)), scans AS (
    INSERT INTO susy.scans SELECT (jsonb_populate_record(NULL::susy.scans, to_jsonb(s) || jsonb_build_object(
        'id', n.id, 'content_sha256', encode(sha256(n.id::text::bytea), 'hex')
    ))).*
    FROM susy.scans AS s CROSS JOIN number AS n
), checks AS (
    INSERT INTO susy.checks SELECT (jsonb_populate_record(NULL::susy.checks, to_jsonb(c) || jsonb_build_object(
        'id', n.id, 'external_id', n.id, 'finished_at', now() - interval '100 days'
    ))).*
    FROM susy.checks AS c CROSS JOIN number AS n
)
INSERT INTO susy.verdicts SELECT (jsonb_populate_record(NULL::susy.verdicts, to_jsonb(v) || jsonb_build_object(
    'id', gen_random_uuid(), 'check_id', n.id, 'scan_id', n.id
))).*
FROM susy.verdicts AS v CROSS JOIN number AS n
"""


SNAPSHOTS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND backend_xmin IS NOT NULL AND pid <> pg_backend_pid()
"""


@pytest.mark.timeout(120)
def test_the_space_of_what_was_pruned_is_used_again_and_given_back_by_a_full_vacuum(store: Store, run: Sql) -> None:
    done(store, verdict=calm(), external_id="model")
    store.number_events()
    tables = ("checks", "scans", "verdicts")

    def sizes() -> list[int]:
        return [run("SELECT pg_table_size(%s::regclass)", f"susy.{table}")[0][0] for table in tables]

    def fill() -> None:
        run(CLONE, 400)  # of the one check that stays
        store.number_events()

    def vacuum(how: str = "") -> None:
        # An automatic ANALYZE in this database holds a snapshot, for which deleted rows are kept.
        eventually(lambda: run(SNAPSHOTS) == [(0,)], 30)
        for table in tables:
            run(f"VACUUM {how} susy.{table}")

    def is_given_back() -> bool:
        vacuum("FULL")
        return all(now < 0.2 * first for first, now in zip(full, sizes(), strict=True))

    small = sizes()
    fill()
    full = sizes()
    assert all(after > before + 60_000 for before, after in zip(small, full, strict=True)), full
    for _ in range(2):
        assert pruned(store, batch=200).checks == 400
        vacuum()
        fill()
    assert all(now < 1.2 * first for first, now in zip(full, sizes(), strict=True)), "the space is not used again"
    assert pruned(store, batch=200).checks == 400
    eventually(is_given_back, 30)
    assert len(left(run)) == 1


def test_a_requeued_check_is_not_deleted(store: Store, run: Sql) -> None:
    claim = claimed(store)
    store.fail(claim, code=ErrorCode.CORRUPT, message="no", retry_in=None)
    old(run, claim.check_id)
    store.requeue(CheckState.QUARANTINED, CheckFilter())
    assert pruned(store).checks == 0
    assert left(run) == {claim.check_id}
