"""Every documented query is answered by indexes: none needs a large table from end to end.

With a few thousand rows the planner would rightly read some tables whole. With sequential scans off it does so only
where no index helps. `bench/ledger_scale.py` looks at the plans and times of millions of rows.
"""

from __future__ import annotations

from typing import LiteralString, cast

import psycopg
import pytest

import bench.ledger_scale as scale
from bench.servers import FILL
from worker.store import queries

SMALL = frozenset({"decision_changes", "policies", "policy_revisions", "operations", "rejected_messages"})
"""Tables that stay small, or from which everything is shown."""


@pytest.mark.timeout(120)
def test_no_documented_query_needs_a_large_table_from_end_to_end(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scale, "LARGE", 300)
    with psycopg.connect(database_url, autocommit=True) as connection:
        scale.fill(connection, 4000, 3)
        connection.execute("SET enable_seqscan = off")
        findings = scale.measure(connection, 1)
    assert len(findings) >= 15
    assert {finding.query: finding.scanned for finding in findings if set(finding.scanned) - SMALL} == {}
    assert sum(finding.rows > 0 for finding in findings) >= 12


@pytest.mark.timeout(120)
def test_a_query_without_an_index_is_found(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scale, "LARGE", 300)
    monkeypatch.setattr(scale, "queries", lambda: ["SELECT id FROM dashboard.checks WHERE uri = 'x'"])
    with psycopg.connect(database_url, autocommit=True) as connection:
        scale.fill(connection, 1000, 3)
        [finding] = scale.measure(connection, 1)
    assert finding.scanned == ("checks",)
    assert not finding.is_fine


@pytest.mark.timeout(120)
def test_pages_of_the_review_queue_are_found_by_their_key_and_leave_nothing_out(database_url: str) -> None:
    page = (
        "SELECT score_band, reach_rank, waiting_since, id FROM dashboard.review_queue"
        " WHERE (score_band, reach_rank, waiting_since, id) > (%s, %s, %s, %s) LIMIT 3"
    )
    with psycopg.connect(database_url, autocommit=True) as connection:
        scale.fill(connection, 4000, 3)
        [(expected,)] = connection.execute("SELECT array_agg(id) FROM dashboard.review_queue").fetchall()
        key = (-1, -1.0, "-infinity", "00000000-0000-0000-0000-000000000000")
        for method in ("seqscan", "hashjoin", "mergejoin", "sort"):
            connection.execute(f"SET enable_{method} = off")  # type: ignore[call-overload]
        [[plan]] = connection.execute(f"EXPLAIN (FORMAT JSON) {page}", key).fetchall()  # type: ignore[call-overload]
        conditions = [node.get("Index Cond", "") for node in scale.nodes(plan[0]["Plan"])]
        assert any(
            each.startswith("(ROW(score_band, reach_rank, waiting_since, check_id) > ROW(") for each in conditions
        )
        found = []
        while rows := connection.execute(page, key).fetchall():  # type: ignore[call-overload]
            found += [row[3] for row in rows]
            key = rows[-1]
    assert found == expected
    assert len(found) > 3  # more than one page


@pytest.mark.timeout(120)
def test_checks_are_chosen_by_their_ids_in_a_large_ledger_whose_statistics_know_of_none_that_waits(
    database_url: str,
) -> None:
    """Vacuum looks at a ledger of millions when a hundred thousand rows have changed: until then, none seem to wait."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("ALTER TABLE susy.checks SET (autovacuum_enabled = off)")
        scale.fill(connection, 4000, 3, waiting=0)
        connection.execute(FILL, {"rows": 1000})
        explain = cast("LiteralString", f"EXPLAIN (ANALYZE, FORMAT JSON) {queries.TAKE_DUE}")
        [[plan]] = connection.execute(explain, {"lane": "backfill", "limit": 50}).fetchall()
    compared = max(node.get("Rows Removed by Filter", 0) for node in scale.nodes(plan[0]["Plan"]))
    assert compared < 50, "the waiting checks were compared with the chosen ones"
