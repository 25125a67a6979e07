from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from schema.examination import StoredScan
from schema.scan import Precision, Scan
from schema.states import CheckState, Decision, Reason
from schema.verdict import PolicyVersion, Verdict
from tests.support.databases import Sql
from tests.support.ledger import MAP, SCAN, VERDICT, calm, claimed, done, examination
from tests.support.postgres_proxy import PostgresProxy
from tests.support.scans import CONTENT, MODEL, scan_of
from worker.errors import ErrorCode, TransientError
from worker.store import Claim, RecordOutcome, Store

EXPIRE = "UPDATE susy.checks SET lease_until = now() - interval '1 second'"
WRITTEN = (
    "SELECT (SELECT count(*) FROM susy.scans), (SELECT count(*) FROM susy.verdicts),"
    " (SELECT count(*) FROM susy.policies)"
)
ARRAYS = ("corners", "contrast", "selected", "scored", "probabilities")

TWO = scan_of((0.1, 0.35, None, None))
FOUR = scan_of((0.1, 0.35, 0.6, 1.0))
"""Two and four of the tiles of `SCAN` are scored."""


def record(store: Store, claim: Claim, *, scan: Scan | None = None, verdict: Verdict = VERDICT) -> RecordOutcome:
    return store.record(claim, examination(scan, verdict))


def found(store: Store) -> StoredScan:
    scan = store.find_scan(CONTENT, MODEL, SCAN.tiling)
    assert scan is not None
    return scan


def test_a_recorded_check_is_done_and_shows_its_scan_verdict_and_map(store: Store) -> None:
    claim = claimed(store)
    assert record(store, claim) is RecordOutcome.RECORDED
    view = store.show(claim.check_id)
    assert (view.state, view.error) == (CheckState.DONE, None)
    assert view.finished_at is not None
    assert view.verdict == VERDICT
    assert list(view.verdict.class_scores) == list(MODEL.classes)
    assert view.map_png == MAP
    assert view.scan is not None
    assert view.scan.model == MODEL


@pytest.mark.parametrize("authentic", [(0.1, 0.35, 0.6, None), (0.1, 0.35, 0.6, 1.0), (None,), ()])
def test_a_scan_comes_back_bit_for_bit(store: Store, authentic: tuple[float | None, ...]) -> None:
    scan = scan_of(authentic, selected=np.arange(len(authentic)) < 2, contrast=np.linspace(0, 65_025, len(authentic)))
    record(store, claimed(store), scan=scan)
    stored = found(store)
    assert stored.has_map == bool(authentic)  # without tiles there is nothing to draw
    for name in ARRAYS:
        assert getattr(stored.scan, name).tobytes() == getattr(scan, name).tobytes()
        assert getattr(stored.scan, name).shape == getattr(scan, name).shape
    assert np.isnan(stored.scan.probabilities[~scan.scored]).all()
    assert (stored.scan.width, stored.scan.height, stored.scan.format) == (scan.width, scan.height, scan.format)


def test_a_verdict_without_a_score_comes_back_without_one(store: Store) -> None:
    verdict = Verdict(
        decision=Decision.INCONCLUSIVE,
        score=None,
        class_scores={},
        generator=None,
        generator_confidence=None,
        reasons=(Reason.TOO_SMALL,),
        needs_review=False,
        regions=(),
        policy=PolicyVersion("default", "1a2b3c"),
    )
    claim = claimed(store)
    store.record(claim, examination(scan_of([]), verdict, map_png=None))
    view = store.show(claim.check_id)
    assert view.verdict == verdict
    assert view.map_png is None


def test_recording_twice_changes_nothing(store: Store, run: Sql) -> None:
    claim = claimed(store)
    assert record(store, claim) is RecordOutcome.RECORDED
    assert record(store, claim, verdict=calm()) is RecordOutcome.RECORDED
    assert run(WRITTEN) == [(1, 1, 1)]
    assert store.show(claim.check_id).verdict == VERDICT


def test_recording_with_a_lost_lease_writes_nothing(store: Store, run: Sql) -> None:
    lost = claimed(store)
    run(EXPIRE)
    assert store.claim(lost.check_id, worker="worker-2", lease=60, max_attempts=5) is not None
    assert record(store, lost) is RecordOutcome.LEASE_LOST
    assert run(WRITTEN) == [(0, 0, 0)]
    assert store.show(lost.check_id).state is CheckState.RUNNING


def test_recording_after_the_other_worker_has_recorded_writes_nothing(store: Store, run: Sql) -> None:
    lost = claimed(store)
    run(EXPIRE)
    ours = store.claim(lost.check_id, worker="worker-2", lease=60, max_attempts=5)
    assert ours is not None
    assert record(store, ours) is RecordOutcome.RECORDED
    assert record(store, lost, verdict=calm()) is RecordOutcome.LEASE_LOST
    assert store.show(lost.check_id).verdict == VERDICT


def test_a_verdict_under_a_lease_that_expired_unnoticed_still_counts(store: Store, run: Sql) -> None:
    claim = claimed(store)
    run(EXPIRE)
    assert record(store, claim) is RecordOutcome.RECORDED


def test_the_error_of_an_earlier_attempt_is_gone_once_done(store: Store) -> None:
    first = claimed(store)
    store.fail(first, code=ErrorCode.OUT_OF_MEMORY, message="no memory", retry_in=0)
    claim = store.claim(first.check_id, worker="worker-1", lease=60, max_attempts=5)
    assert claim is not None
    assert store.show(claim.check_id).error is not None
    record(store, claim)
    assert store.show(claim.check_id).error is None


def test_the_scan_with_more_scored_tiles_stays(store: Store) -> None:
    record(store, claimed(store), scan=TWO)
    first = found(store)
    record(store, claimed(store), scan=FOUR)
    assert found(store).scan.complete
    record(store, claimed(store), scan=SCAN)
    assert found(store).scan.complete
    assert found(store).id == first.id


def test_a_map_once_drawn_is_not_lost(store: Store) -> None:
    for scan, picture in ((TWO, None), (TWO, MAP), (TWO, b"another"), (FOUR, None)):
        store.record(claimed(store), examination(scan, map_png=picture))
    view = store.show(done(store).check_id)
    assert view.map_png == MAP


def test_a_scan_that_was_found_is_referred_to_and_not_written_again(store: Store, run: Sql) -> None:
    store.record(claimed(store), examination(map_png=None))
    stored = found(store)
    assert not stored.has_map
    claim = claimed(store)
    assert store.record(claim, examination(stored.scan, scan_id=stored.id)) is RecordOutcome.RECORDED
    assert store.show(claim.check_id).map_png == MAP
    assert run(WRITTEN) == [(1, 2, 1)]


def test_a_shadow_verdict_of_the_same_policy_becomes_the_live_one(store: Store, run: Sql) -> None:
    claim = claimed(store)
    record(store, claim, verdict=calm())
    run("UPDATE susy.verdicts SET mode = 'shadow', id = gen_random_uuid()")
    run(
        "UPDATE susy.checks SET state = 'queued', finished_at = NULL, content_sha256 = NULL WHERE id = %s",
        claim.check_id,
    )
    again = store.claim(claim.check_id, worker="worker-1", lease=60, max_attempts=5)
    assert again is not None
    assert record(store, again) is RecordOutcome.RECORDED
    assert run("SELECT mode, needs_review FROM susy.verdicts") == [("live", True)]


def test_two_precisions_are_two_scans_of_one_content(store: Store, run: Sql) -> None:
    exact = SCAN
    reduced = replace(exact, model=replace(MODEL, precision=Precision.BFLOAT16))
    checks = []
    for scan in (exact, reduced):
        claim = claimed(store)
        assert store.record(claim, examination(scan)) is RecordOutcome.RECORDED
        checks.append(claim.check_id)
    for check_id, scan in zip(checks, (exact, reduced), strict=True):
        shown = store.show(check_id).scan
        assert shown is not None
        assert shown.model == scan.model
        found = store.find_scan(CONTENT, scan.model, scan.tiling)
        assert found is not None
        assert found.scan.model == scan.model
    assert store.find_scan(CONTENT, replace(MODEL, precision=Precision.FLOAT16), exact.tiling) is None
    assert run("SELECT precision FROM dashboard.checks ORDER BY precision") == [("bfloat16",), ("float32",)]


def test_nothing_is_known_of_content_that_was_never_scanned(store: Store) -> None:
    assert store.find_scan("0" * 64, MODEL, SCAN.tiling) is None


def test_a_commit_whose_answer_was_lost_is_found_to_be_recorded(proxy: PostgresProxy, run: Sql) -> None:
    with Store(proxy.url, pool_size=2) as store:
        claim = claimed(store)
        proxy.cut_after_commit = True
        assert record(store, claim) is RecordOutcome.RECORDED
        assert not proxy.cut_after_commit
    assert run(WRITTEN) == [(1, 1, 1)]


def test_a_commit_that_is_still_under_way_is_waited_for(proxy: PostgresProxy, run: Sql) -> None:
    run(
        "CREATE FUNCTION susy.dawdle() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM pg_sleep(2); RETURN NULL; END $$"
    )
    run(
        "CREATE CONSTRAINT TRIGGER slow_commit AFTER INSERT ON susy.verdicts DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION susy.dawdle()"
    )
    with Store(proxy.url, pool_size=2) as store:
        claim = claimed(store)
        proxy.cut_after_commit = True
        assert record(store, claim) is RecordOutcome.RECORDED
    assert run(WRITTEN) == [(1, 1, 1)]


def test_a_commit_that_never_arrived_is_a_transient_failure_that_wrote_nothing(proxy: PostgresProxy, run: Sql) -> None:
    with Store(proxy.url, pool_size=2) as store:
        claim = claimed(store)
        proxy.cut_before_commit = True
        with pytest.raises(TransientError):
            record(store, claim)
        assert run(WRITTEN) == [(0, 0, 0)]
        assert record(store, claim) is RecordOutcome.RECORDED
