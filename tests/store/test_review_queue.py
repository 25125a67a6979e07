"""Pages and counts of a long review queue cost the same as those of a short one: indexes are read, within bounds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from tests.support.databases import Sql
from tests.support.ledger import VERDICT, done
from worker.store import Store
from worker.store.review_queue import QueuePage

WAITING = 30_000
FILL = """
INSERT INTO susy.checks (id, source, external_id, uri, lane, state, finished_at, content_sha256)
SELECT gen_random_uuid(), CASE WHEN i %% 1000 = 0 THEN 'rare' ELSE 'source-' || i %% 40 END, i::text, '/images/1.jpg',
    'live', 'done', now(), encode(sha256(i::text::bytea), 'hex')
FROM generate_series(1, %s) AS i;
"""
QUEUE = """
INSERT INTO susy.review_items (
    check_id, kind, source, lane, policy, decision, generator, score, needs_review, content_sha256, score_band,
    reach_rank, waiting_since
)
SELECT id, 'first', source, 'live', 'default', 'synthetic', CASE WHEN source = 'rare' THEN 'seldom' END,
    (external_id::int %% 90) / 100.0, external_id::int %% 500 <> 0, content_sha256,
    10 - round((external_id::int %% 90) / 10.0), 0, now() - make_interval(secs => external_id::int)
FROM susy.checks WHERE external_id <> 'first';
"""
PAGES: list[tuple[dict[str, Any], int]] = [
    ({}, 50), ({"source": "source-7"}, 50), ({"source": "rare"}, 30), ({"sources": ["rare", "source-3"]}, 50),
    ({"min_score": 0.85}, 50), ({"max_score": 0.02}, 50), ({"generator": "seldom"}, 0), ({"why": "audit"}, 0),
    ({"policy": "none"}, 0), ({"attributes": {"country": "de"}}, 0),
]  # fmt: skip
MAX_BLOCKS = 12_000
"""Of 8 kB, for what looks at 2000 checks and finds few. A claim is allowed 2000 for one check."""


@pytest.fixture
def queue(store: Store, run: Sql) -> None:
    done(store, external_id="first", verdict=replace(VERDICT, needs_review=False))
    run(FILL, WAITING)
    run(QUEUE.replace("%%", "%"))
    for table in ("checks", "review_items"):
        run(f"ANALYZE susy.{table}")


def cost(run: Sql, call: str, *parameters: object) -> tuple[int, int]:
    """Blocks that a statement reads, and those that it reads from end to end."""
    [(found,)] = run(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT {call}", *parameters)
    plan = found[0]["Plan"]
    return plan["Shared Hit Blocks"] + plan["Shared Read Blocks"], plan["Actual Rows"]


def scans(run: Sql) -> list[tuple[str, int]]:
    run("SELECT pg_stat_force_next_flush()")
    return run("SELECT relname::text, seq_scan FROM pg_stat_user_tables WHERE relname IN ('checks', 'review_items')")


@pytest.mark.timeout(120)
@pytest.mark.usefixtures("queue")
def test_pages_and_counts_of_a_long_queue_are_read_by_indexes_and_end(store: Store, run: Sql) -> None:
    before = scans(run)
    for filters, count in PAGES:
        page = store.review_queue.page(filters, limit=50)
        assert len(page.checks) == count, filters
        blocks, _ = cost(run, "susy.list_review_queue(%s, NULL, 50)", Jsonb(filters))
        assert blocks < MAX_BLOCKS, (filters, blocks)
    # Deep in the queue a page costs what the first one does.
    page = deep(store)
    assert page.next is not None
    place = Jsonb([*page.next[:2], page.next.waiting_since.isoformat(), str(page.next.check_id)])
    first, _ = cost(run, "susy.list_review_queue('{}', NULL, 50)")
    later, _ = cost(run, "susy.list_review_queue('{}', %s, 50)", place)
    assert later < 2 * first + 100
    for sources in (None, ["rare"], ["rare", "source-3"]):
        policy, audit = store.review_queue.count(sources)
        assert (policy.checks, policy.is_capped) == (
            (10_000, True) if sources is None else (expected(run, sources), False)
        )
        assert not audit.is_capped
        blocks, _ = cost(run, "susy.count_review_queue(%s::text[])", sources)
        assert blocks < MAX_BLOCKS, (sources, blocks)
    assert scans(run) == before


def expected(run: Sql, sources: list[str]) -> int:
    [(count,)] = run(
        "SELECT count(*) FROM susy.checks WHERE source = ANY (%s) AND external_id::int %% 500 <> 0", sources
    )
    return int(count)


def deep(store: Store) -> QueuePage:
    """A page in the middle."""
    page = store.review_queue.page({}, limit=500)
    for _ in range(30):
        assert page.next is not None
        page = store.review_queue.page({}, after=page.next, limit=500)
    return page


@pytest.mark.timeout(120)
@pytest.mark.usefixtures("queue")
def test_a_filter_that_few_checks_match_finds_all_of_them_over_several_pages(store: Store, run: Sql) -> None:
    found, page, pages = [], store.review_queue.page({"generator": "seldom"}), 1
    while page.next is not None:
        found += page.checks
        page = store.review_queue.page({"generator": "seldom"}, after=page.next)
        pages += 1
    found += page.checks
    assert len(found) == len({check.check_id for check in found}) == 30
    assert pages == WAITING // 2000 + 1
