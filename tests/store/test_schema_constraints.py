from __future__ import annotations

from uuid import uuid4

import psycopg
import pytest

from tests.support.databases import Sql
from tests.support.ledger import SCAN, done, submission
from worker.store import Store

REFUSED = [
    ("ck_checks_state", "UPDATE susy.checks SET state = 'lost'"),
    ("ck_checks_lane", "UPDATE susy.checks SET lane = 'slow'"),
    ("ck_checks_named", "UPDATE susy.checks SET uri = ''"),
    ("ck_checks_attributes", "UPDATE susy.checks SET attributes = '[]'"),
    ("ck_checks_attempts", "UPDATE susy.checks SET attempts = -1"),
    ("ck_checks_running_has_token", "UPDATE susy.checks SET lease_token = gen_random_uuid()"),
    ("ck_checks_running_has_lease", "UPDATE susy.checks SET lease_until = now()"),
    (
        "ck_checks_running_has_worker",
        "UPDATE susy.checks SET state = 'running', lease_token = gen_random_uuid(), lease_until = now()",
    ),
    ("ck_checks_finished_has_time", "UPDATE susy.checks SET state = 'cancelled'"),
    ("ck_checks_finished_has_time", "UPDATE susy.checks SET finished_at = now()"),
    ("ck_checks_quarantined_has_code", "UPDATE susy.checks SET state = 'quarantined', finished_at = now()"),
    ("ck_checks_expired_has_deadline", "UPDATE susy.checks SET state = 'expired', finished_at = now()"),
    ("ck_checks_finished_has_time", "UPDATE susy.checks SET state = 'expired', expires_at = now()"),
    ("ck_checks_done_has_content", "UPDATE susy.checks SET state = 'done', finished_at = now()"),
    ("ck_checks_message_has_code", "UPDATE susy.checks SET error_message = 'it broke'"),
    ("ck_checks_content_sha256", "UPDATE susy.checks SET content_sha256 = 'ABC'"),
    (
        "uq_checks_source_external_id",
        "INSERT INTO susy.checks (id, source, external_id, uri, lane)"
        " SELECT gen_random_uuid(), source, external_id, uri, lane FROM susy.checks",
    ),
]


@pytest.mark.parametrize(("constraint", "statement"), REFUSED)
def test_a_queued_check_cannot_contradict_itself(store: Store, run: Sql, constraint: str, statement: str) -> None:
    store.submit(submission())
    with pytest.raises(psycopg.IntegrityError) as caught:
        run(statement)
    assert caught.value.diag.constraint_name == constraint


REFUSED_WHEN_DONE = [
    ("ck_scans_corners", "UPDATE susy.scans SET corners = ''"),
    ("ck_scans_contrast", "UPDATE susy.scans SET contrast = ''"),
    ("ck_scans_selected", "UPDATE susy.scans SET selected = ''"),
    ("ck_scans_scored", "UPDATE susy.scans SET scored = ''"),
    ("ck_scans_probabilities", "UPDATE susy.scans SET probabilities = ''"),
    ("ck_scans_tiles", "UPDATE susy.scans SET tiles_scored = 5"),
    ("ck_scans_size", "UPDATE susy.scans SET width = 0"),
    ("ck_scans_tiling", "UPDATE susy.scans SET tiling = 'coverage'"),
    ("ck_scans_precision", "UPDATE susy.scans SET precision = 'float8'"),
    ("ck_scans_weights_sha256", "UPDATE susy.scans SET weights_sha256 = 'x'"),
    ("ck_verdicts_mode", "UPDATE susy.verdicts SET mode = 'maybe'"),
    ("ck_verdicts_decision", "UPDATE susy.verdicts SET decision = 'fake'"),
    ("ck_verdicts_score", "UPDATE susy.verdicts SET score = 1.5"),
    ("ck_verdicts_score", "UPDATE susy.verdicts SET score = 'NaN'"),
    ("ck_verdicts_regions", "UPDATE susy.verdicts SET regions = '{}'"),
    ("ck_verdicts_class_scores", "UPDATE susy.verdicts SET class_scores = '[]'"),
    ("fk_verdicts_policy_name_policy_version", "UPDATE susy.verdicts SET policy_version = 'unknown'"),
    ("fk_verdicts_scan_id", "UPDATE susy.verdicts SET scan_id = gen_random_uuid()"),
    ("fk_verdicts_check_id", "DELETE FROM susy.checks"),
]


@pytest.mark.parametrize(("constraint", "statement"), REFUSED_WHEN_DONE)
def test_a_recorded_verdict_cannot_contradict_itself(store: Store, run: Sql, constraint: str, statement: str) -> None:
    done(store)
    with pytest.raises(psycopg.IntegrityError) as caught:
        run(statement)
    assert caught.value.diag.constraint_name == constraint


def test_a_check_never_has_two_live_verdicts(store: Store, run: Sql) -> None:
    done(store)
    run("INSERT INTO susy.policies (name, version, document) VALUES ('default', 'next', '{}')")
    another = (
        "INSERT INTO susy.verdicts (id, check_id, scan_id, policy_name, policy_version, mode, decision, class_scores,"
        " reasons, needs_review, regions) SELECT gen_random_uuid(), check_id, scan_id, 'default', 'next', %s, decision,"
        " class_scores, reasons, needs_review, regions FROM susy.verdicts"
    )
    with pytest.raises(psycopg.errors.UniqueViolation) as caught:
        run(another, "live")
    assert caught.value.diag.constraint_name == "uq_verdicts_live"
    run(another, "shadow")


@pytest.mark.parametrize("statement", ["UPDATE {} SET created_at = now()", "DELETE FROM {}", "TRUNCATE {} CASCADE"])
@pytest.mark.parametrize("table", ["susy.policies", "susy.reviews"])
def test_policies_and_reviews_are_append_only(store: Store, run: Sql, table: str, statement: str) -> None:
    claim = done(store)
    run(
        "INSERT INTO susy.reviews (id, check_id, reviewer, decision) VALUES (%s, %s, 'ada', 'authentic')",
        uuid4(),
        claim.check_id,
    )
    with pytest.raises(psycopg.errors.RestrictViolation, match="append-only"):
        run(statement.format(table))


def test_every_array_has_the_length_that_its_shape_asks_for(store: Store, run: Sql) -> None:
    done(store)
    key = "SELECT corners, contrast, selected, scored, probabilities FROM susy.scans"
    tiles = len(SCAN.corners)
    assert [len(column) for column in run(key)[0]] == [8 * tiles, 4 * tiles, tiles, tiles, 6 * tiles]
