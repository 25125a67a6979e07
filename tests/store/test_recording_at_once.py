"""One statement that ends a check: what it writes, and that every case it leaves out ends as it does step by step."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from uuid import uuid4

import pytest

from schema.examination import Examination
from schema.states import CheckState
from tests.support.databases import Sql
from tests.support.ledger import SCAN, VERDICT, calm, claimed, done, examination
from tests.support.postgres_proxy import PostgresProxy
from worker.errors import SusyError, TransientError
from worker.store import Claim, RecordOutcome, Store, recording

WRITTEN = "SELECT (SELECT count(*) FROM susy.scans), (SELECT count(*) FROM susy.verdicts)"
AGAIN = "UPDATE susy.checks SET state = 'queued', finished_at = NULL, content_sha256 = NULL WHERE id = %s"
SECOND = replace(SCAN, content_sha256="c" * 64)


@pytest.fixture
def practised(store: Store) -> Store:
    """A store that has recorded a check, and knows that its policy is in the ledger."""
    done(store)
    return store


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[Claim]:
    """The claims that were recorded step by step."""
    claims = []
    step_by_step = recording._write_step_by_step

    def write(connection: recording.Connection, claim: Claim, written: Examination) -> RecordOutcome:
        claims.append(claim)
        return step_by_step(connection, claim, written)

    monkeypatch.setattr(recording, "_write_step_by_step", write)
    return claims


def reclaimed(store: Store, claim: Claim) -> Claim:
    again = store.claim(claim.check_id, worker="worker-2", lease=60, max_attempts=9)
    assert again is not None
    return again


def test_it_writes_what_the_steps_write(practised: Store, run: Sql, steps: list[Claim]) -> None:
    columns = (
        "state, finished_at IS NULL, lease_token, lease_until, error_code, fetched_etag,"
        " decision, score, class_scores, generator, generator_confidence, reasons, needs_review, regions, audit_rate,"
        " policy_name, policy_version, mode, v.scan_id = s.id, tiles_total, tiles_scored, corners, contrast, selected,"
        " scored, probabilities, map_png, map_sampled, map_x_edges, map_y_edges, map_scores, signals, model_name,"
        " classes, precision, tiling, width, height, format"
    )
    query = (
        f"SELECT {columns} FROM susy.checks AS c JOIN susy.verdicts AS v ON v.check_id = c.id"
        " JOIN susy.scans AS s ON s.content_sha256 = c.content_sha256 ORDER BY c.id"
    )
    claim = claimed(practised)
    assert practised.record(claim, examination(SECOND)) is RecordOutcome.RECORDED
    assert steps == []
    first, second = run(query)
    assert first == second
    assert run("SELECT id FROM susy.verdicts WHERE check_id = %s", claim.check_id) == [(claim.lease_token,)]
    assert run("SELECT verdict_id FROM susy.events WHERE check_id = %s", claim.check_id) == [(claim.lease_token,)]
    assert run("SELECT sum(checks) FROM susy.decision_changes") == [(2,)]
    assert run("SELECT count(*) FROM susy.review_items") == [(2,)]


def test_a_scan_that_was_found_is_referred_to(practised: Store, run: Sql, steps: list[Claim]) -> None:
    [(scan_id,)] = run("SELECT id FROM susy.scans")
    claim = claimed(practised)
    outcome = practised.record(claim, examination(map_png=None, scan_id=scan_id))
    assert (outcome, steps) == (RecordOutcome.RECORDED, [])
    assert run(WRITTEN) == [(1, 2)]
    assert practised.show(claim.check_id).map_png is not None


def test_a_scan_that_was_deleted_since_is_written_again(practised: Store, run: Sql, steps: list[Claim]) -> None:
    claim = claimed(practised)
    assert practised.record(claim, examination(SECOND, scan_id=uuid4(), map_png=None)) is RecordOutcome.RECORDED
    assert steps == [claim]
    assert run(WRITTEN) == [(2, 2)]


def test_a_scan_that_another_worker_stored_meanwhile_is_kept(practised: Store, run: Sql, steps: list[Claim]) -> None:
    claim = claimed(practised)
    assert practised.record(claim, examination()) is RecordOutcome.RECORDED
    assert steps == [claim]
    assert run(WRITTEN) == [(1, 2)]


def test_a_lost_lease_writes_nothing(practised: Store, run: Sql) -> None:
    lost = claimed(practised)
    run("UPDATE susy.checks SET lease_until = now() - interval '1 second' WHERE id = %s", lost.check_id)
    ours = reclaimed(practised, lost)
    assert practised.record(lost, examination(SECOND)) is RecordOutcome.LEASE_LOST
    assert run(WRITTEN) == [(1, 1)]
    assert practised.record(ours, examination(SECOND)) is RecordOutcome.RECORDED
    assert practised.record(lost, examination(SECOND, calm())) is RecordOutcome.LEASE_LOST
    assert run(WRITTEN) == [(2, 2)]


def test_recording_twice_changes_nothing(practised: Store, run: Sql) -> None:
    claim = claimed(practised)
    assert practised.record(claim, examination(SECOND)) is RecordOutcome.RECORDED
    assert practised.record(claim, examination(SECOND, calm())) is RecordOutcome.RECORDED
    assert run(WRITTEN) == [(2, 2)]
    assert practised.show(claim.check_id).verdict == VERDICT


def test_a_check_that_has_a_verdict_keeps_it(practised: Store, run: Sql, steps: list[Claim]) -> None:
    claim = claimed(practised)
    practised.record(claim, examination(SECOND))
    run(AGAIN, claim.check_id)
    again = reclaimed(practised, claim)
    assert practised.record(again, examination(SECOND, calm())) is RecordOutcome.RECORDED
    assert steps == [again]
    assert run("SELECT id, needs_review FROM susy.verdicts WHERE check_id = %s", claim.check_id) == [
        (claim.lease_token, True)
    ]


def test_a_shadow_verdict_becomes_the_live_one(practised: Store, run: Sql, steps: list[Claim]) -> None:
    claim = claimed(practised)
    practised.record(claim, examination(SECOND, calm()))
    run("UPDATE susy.verdicts SET mode = 'shadow', id = gen_random_uuid() WHERE check_id = %s", claim.check_id)
    run(AGAIN, claim.check_id)
    again = reclaimed(practised, claim)
    assert practised.record(again, examination(SECOND)) is RecordOutcome.RECORDED
    assert steps == [again]
    assert run("SELECT mode, needs_review FROM susy.verdicts WHERE check_id = %s", claim.check_id) == [("live", True)]


def test_a_policy_that_a_replaced_server_lacks_is_stored_again(practised: Store, run: Sql, steps: list[Claim]) -> None:
    run("DELETE FROM susy.verdicts")
    run("ALTER TABLE susy.policies DISABLE TRIGGER USER")
    run("DELETE FROM susy.policies")
    claim = claimed(practised)
    assert practised.record(claim, examination(SECOND)) is RecordOutcome.RECORDED
    assert steps == [claim]
    assert run("SELECT count(*) FROM susy.policies") == [(1,)]
    after = claimed(practised)
    assert practised.record(after, examination(replace(SCAN, content_sha256="d" * 64))) is RecordOutcome.RECORDED
    assert steps == [claim]


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_connection_that_breaks_at_its_end_leaves_the_check_done_or_untouched(
    proxy: PostgresProxy, run: Sql, moment: str, steps: list[Claim]
) -> None:
    with Store(proxy.url, pool_size=1) as store:
        done(store)
        steps.clear()
        repeated = []
        for digit in "cdefa01234":  # before and after the statement is prepared
            claim = claimed(store)
            setattr(proxy, f"cut_{moment}_commit", True)
            scanned = examination(replace(SCAN, content_sha256=digit * 64))
            try:
                outcome = store.record(claim, scanned)
            except TransientError:
                # After it, too, once in a long while: the server had not begun when it was asked.
                assert moment == "after" or run(
                    "SELECT count(*) FROM susy.scans WHERE content_sha256 = %s", digit * 64
                ) == [(0,)]
                repeated.append(claim)
                outcome = store.record(claim, scanned)
            assert outcome is RecordOutcome.RECORDED
            assert not getattr(proxy, f"cut_{moment}_commit")
    assert steps == [] or moment == "after", "what was not written is written at once"
    assert all(claim in repeated for claim in steps)
    assert run("SELECT count(*) FROM susy.checks WHERE state = 'done'") == [(11,)]
    assert run("SELECT count(*) FROM susy.verdicts") == [(11,)]


def test_twenty_workers_that_record_one_content_store_it_once(practised: Store, run: Sql) -> None:
    claims = [claimed(practised) for _ in range(20)]
    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(lambda claim: practised.record(claim, examination(SECOND)), claims))
    assert outcomes == [RecordOutcome.RECORDED] * 20
    assert run(WRITTEN) == [(2, 21)]
    assert {practised.show(claim.check_id).state for claim in claims} == {CheckState.DONE}


def test_an_error_of_another_kind_is_raised_and_leaves_no_trace(practised: Store, run: Sql) -> None:
    run("ALTER TABLE susy.verdicts ADD CONSTRAINT fault CHECK (needs_review) NOT VALID")
    claim = claimed(practised)
    with pytest.raises(SusyError):
        practised.record(claim, examination(SECOND, calm()))
    assert run(WRITTEN) == [(1, 1)]
    assert practised.show(claim.check_id).state is CheckState.RUNNING
