from __future__ import annotations

import json
import re
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import psycopg
import pytest

from schema.states import Decision
from schema.verdict import Region
from tests.support.checkout import DOCS
from tests.support.databases import Sql
from tests.support.ledger import (
    MAP,
    SCAN,
    VERDICT,
    calm,
    claimed,
    done,
    examination,
    submission,
)
from tests.support.scans import CONTENT, MODEL, scan_of
from worker.errors import ErrorCode
from worker.localization.heatmap import grid_document, heatmap
from worker.localization.regions import find_regions
from worker.store import Store

DOCUMENTATION = DOCS / "database.md"
VIEWS = (
    "checks",
    "review_queue",
    "maps",
    "localization",
    "regions",
    "quarantine",
    "backlog",
    "reviews",
    "rejected_messages",
    "endpoints",
    "callbacks",
    "policies",
    "policy_history",
    "policy_applications",
    "shadow_differences",
    "verdicts",
    "throughput_by_minute",
    "decisions_by_source_day",
    "generators_by_day",
    "audit_log",
    "double_reviews",
    "reviewer_agreement",
    "reviewer_accuracy",
    "review_claims",
)
TABLES = (
    "checks",
    "scans",
    "policies",
    "policy_revisions",
    "verdicts",
    "reviews",
    "rejected_messages",
    "events",
    "endpoints",
    "endpoint_keys",
    "deliveries",
    "api_keys",
    "operations",
    "decision_counts",
    "review_batches",
    "review_undos",
    "undone_reviews",
    "review_items",
    "open_claims",
    "review_claims",
    "golden_changes",
    "golden_answers",
    "alembic_version",
)


def reader(url: str) -> Any:
    """Runs a statement with the rights of the dashboards' role."""

    def read(query: str, *parameters: Any) -> list[dict[str, Any]]:
        with psycopg.connect(url, row_factory=psycopg.rows.dict_row) as connection:
            connection.execute("SET ROLE susy_dashboard")
            return connection.execute(query, parameters or None).fetchall()

    return read


@pytest.fixture
def read(database_url: str, run: Sql) -> Any:
    """Reads the test's database."""
    return reader(database_url)


@pytest.fixture(scope="module")
def read_done(shared_store: Store, shared_database_url: str) -> Any:
    """Reads a database of the file, in which a check is done."""
    done(shared_store, external_id="upload-1")
    return reader(shared_database_url)


@pytest.mark.parametrize("view", VIEWS)
def test_the_dashboards_role_reads_every_view(read_done: Any, view: str) -> None:
    read_done(f"SELECT * FROM dashboard.{view}")


@pytest.mark.parametrize("table", TABLES)
def test_the_dashboards_role_reads_no_table(read_done: Any, table: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        read_done(f"SELECT * FROM susy.{table}")


def test_the_dashboards_role_writes_nothing(store: Store, read: Any) -> None:
    done(store)
    for statement in (
        "DELETE FROM dashboard.quarantine",
        "UPDATE dashboard.reviews SET note = ''",
        "INSERT INTO dashboard.rejected_messages (task) VALUES ('x')",
        "CREATE TABLE dashboard.mine (x int)",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            read(statement)


@pytest.mark.parametrize("query", re.findall(r"```sql\n(.*?)```", DOCUMENTATION.read_text(), re.DOTALL))
def test_the_documented_queries_run(read_done: Any, query: str) -> None:
    read_done(query)


def test_a_check_is_one_row_with_its_live_verdict(store: Store, read: Any, run: Sql) -> None:
    claim = done(store, external_id="upload-1", attributes={"country": "NL"})
    waiting = store.submit(submission(policy="strict")).check_id
    [row] = read("SELECT * FROM dashboard.checks WHERE id = %s", claim.check_id)
    expected = {
        "external_id": "upload-1",
        "state": "done",
        "decision": "synthetic",
        "score": 0.1 + 0.2,
        "generator": "alpha",
        "generator_confidence": 2 / 3,
        "reasons": ["above_synthetic_at", "synthetic_region"],
        "needs_review": True,
        "policy": "default",
        "policy_version": "1a2b3c",
        "model": "susy",
        "model_sha256": MODEL.sha256,
        "content_sha256": CONTENT,
        "attributes": {"country": "NL"},
        "error_code": None,
        "review_decision": None,
        "tiles_total": 4,
        "tiles_scored": 3,
    }
    assert {name: row[name] for name in expected} == expected
    assert row["regions"][0]["score"] == 0.987654321
    [row] = read("SELECT * FROM dashboard.checks WHERE id = %s", waiting)
    assert (row["state"], row["policy"], row["decision"], row["model"]) == ("queued", "strict", None, None)


def test_views_and_documents_show_the_stored_confidence(store: Store, read: Any) -> None:
    claims = [
        done(store, verdict=replace(VERDICT, generator=generator, generator_confidence=confidence))
        for generator, confidence in (("alpha", 2 / 3), ("unknown_generator", 0.5), (None, None))
    ]
    for view in ("checks", "review_queue"):
        rows = read(f"SELECT id, generator, generator_confidence FROM dashboard.{view}")
        found = {row["id"]: (row["generator"], row["generator_confidence"]) for row in rows}
        assert [found[claim.check_id] for claim in claims] == [
            ("alpha", 2 / 3), ("unknown_generator", 0.5), (None, None),
        ]  # fmt: skip
    shown = [store.show(claim.check_id).verdict for claim in claims]
    assert [verdict and verdict.generator_confidence for verdict in shown] == [2 / 3, 0.5, None]


def test_the_review_queue_holds_what_needs_a_look_and_has_none_oldest_first(store: Store, read: Any) -> None:
    first, second, third = done(store), done(store), done(store)
    done(store, verdict=calm())
    claimed(store)
    store.add_review(second.check_id, reviewer="ada", decision=Decision.AUTHENTIC, note="a photograph of a poster")
    queue = [row["id"] for row in read("SELECT id FROM dashboard.review_queue")]
    assert queue == [first.check_id, third.check_id]
    [row] = read("SELECT review_decision FROM dashboard.checks WHERE id = %s", second.check_id)
    assert row == {"review_decision": "authentic"}
    store.add_review(second.check_id, reviewer="grace", decision=Decision.SYNTHETIC)
    [row] = read("SELECT review_decision FROM dashboard.checks WHERE id = %s", second.check_id)
    assert row == {"review_decision": "synthetic"}
    reviews = read("SELECT reviewer, note FROM dashboard.reviews ORDER BY created_at")
    assert reviews == [
        {"reviewer": "ada", "note": "a photograph of a poster"},
        {"reviewer": "grace", "note": None},
    ]


def test_a_map_is_found_by_its_check(store: Store, read: Any) -> None:
    claim = done(store)
    claimed(store)
    rows = read("SELECT check_id, width, height, map_png FROM dashboard.maps")
    assert rows == [{"check_id": claim.check_id, "width": 896, "height": 224, "map_png": MAP}]


def test_checks_and_maps_say_whether_the_map_is_sampled(store: Store, read: Any) -> None:
    whole, sampled = done(store), claimed(store)
    store.record(sampled, examination(replace(SCAN, content_sha256="e" * 64, map_sampled=True)))
    expected = {whole.check_id: False, sampled.check_id: True}
    assert {row["id"]: row["map_sampled"] for row in read("SELECT * FROM dashboard.checks")} == expected
    assert {row["check_id"]: row["map_sampled"] for row in read("SELECT * FROM dashboard.maps")} == expected
    shown = store.show(sampled.check_id).scan
    assert shown is not None
    assert shown.map_sampled


def test_a_map_is_read_by_sql_alone_as_the_numbers_that_the_picture_shows(store: Store, read: Any) -> None:
    random = np.random.default_rng(1)
    scan = scan_of(
        [None] * 5 + [float(score) for score in random.random(15)],
        width=600,
        height=500,
        stride=112,
    )
    claim = claimed(store, external_id="upload-1")
    regions = find_regions(heatmap(scan), at=0.6)
    assert regions
    store.record(claim, examination(scan, replace(VERDICT, regions=regions)))
    [row] = read("SELECT * FROM dashboard.localization WHERE check_id = %s", claim.check_id)
    assert (row["external_id"], row["width"], row["height"], row["stride"]) == ("upload-1", 600, 500, 112)
    assert (row["map_png"], row["decision"], row["is_demo"]) == (MAP, "synthetic", False)
    expected = grid_document(heatmap(scan))
    assert row["grid"] == expected
    assert any(None in scores for scores in expected["scores"])
    assert row["regions"] == json.loads(json.dumps([asdict(region) for region in regions]))
    assert (row["region_count"], row["region_area"]) == (len(regions), pytest.approx(sum(r.area for r in regions)))
    shown = store.show(claim.check_id).verdict
    assert shown is not None
    assert shown.regions == regions
    listed = read("SELECT * FROM dashboard.regions WHERE check_id = %s ORDER BY number", claim.check_id)
    assert [row["number"] for row in listed] == list(range(1, len(regions) + 1))
    for row, region in zip(listed, regions, strict=True):
        assert Region.of({name: row[name] for name in row if name not in ("check_id", "number")}) == region


def test_a_map_that_was_stored_without_its_numbers_gets_them_with_the_next_examination(
    store: Store, read: Any, run: Sql
) -> None:
    first = done(store)
    run("UPDATE susy.scans SET map_x_edges = NULL, map_y_edges = NULL, map_scores = NULL")
    run("""UPDATE susy.verdicts SET regions = '[{"x": 0, "y": 0, "width": 224, "height": 224, "score": 0.9}]'""")
    [row] = read("SELECT grid, map_png, region_area FROM dashboard.localization")
    assert row == {"grid": None, "map_png": MAP, "region_area": None}
    shown = store.show(first.check_id).verdict
    assert shown is not None
    assert shown.regions == (Region(0, 0, 224, 224, 0.9),)
    [old] = read("SELECT * FROM dashboard.regions")
    assert (old["mean_score"], old["area"], old["generator"], old["polygon"]) == (None, None, None, None)
    stored = store.find_scan(CONTENT, MODEL, SCAN.tiling)
    assert stored is not None
    assert not stored.has_map
    store.record(claimed(store), examination(stored.scan, scan_id=stored.id))
    grids = [row["grid"] for row in read("SELECT grid FROM dashboard.localization")]
    assert grids == [grid_document(heatmap(SCAN))] * 2


def test_the_map_of_twelve_megapixels_takes_two_kilobytes_beside_its_picture(store: Store, run: Sql) -> None:
    random = np.random.default_rng(1)
    scan = scan_of(random.random(252).tolist(), width=4000, height=3000)
    store.record(claimed(store), examination(scan))
    [(size, cells)] = run(
        "SELECT pg_column_size(map_scores) + pg_column_size(map_x_edges) + pg_column_size(map_y_edges),"
        " cardinality(map_scores) FROM susy.scans"
    )
    assert cells >= 252
    assert size <= 2048


def test_the_quarantine_says_why(store: Store, read: Any) -> None:
    claim = claimed(store)
    store.fail(claim, code=ErrorCode.CORRUPT, message="a JPEG without a header", retry_in=None)
    [row] = read("SELECT id, error_code, error_message, worker, attempts FROM dashboard.quarantine")
    assert row == {
        "id": claim.check_id,
        "error_code": "corrupt",
        "error_message": "a JPEG without a header",
        "worker": "worker-1",
        "attempts": 1,
    }


def test_a_rejected_message_is_shown(store: Store, read: Any) -> None:
    store.reject_message("susy.submit", b"{}", code=ErrorCode.INVALID_MESSAGE, message="no uri")
    [row] = read("SELECT task, code, message, body FROM dashboard.rejected_messages")
    assert row == {"task": "susy.submit", "code": "invalid_message", "message": "no uri", "body": "{}"}
