"""Checks are given to moderators one at a time, in order of priority, and come back when nobody decides."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from schema.states import Decision
from tests.support.databases import Sql
from tests.support.ledger import VERDICT, calm, done
from tests.support.moderating import Moderators
from worker.store import Store

LOG = "SELECT moderator, action FROM susy.review_claims ORDER BY id"


def waiting(store: Store, number: int, score: float = 0.5, **changes: Any) -> UUID:
    """A check in the queue, of a content of its own."""
    return done(store, verdict=replace(VERDICT, score=score), content=f"{number:064x}", **changes).check_id


def refused(call: Any, *arguments: Any) -> psycopg.Error:
    with pytest.raises(psycopg.Error) as error:
        call(*arguments)
    assert "\n" not in (error.value.diag.message_primary or "\n")
    return error.value


def test_checks_are_given_by_score_reach_and_age(store: Store, run: Sql, moderators: Moderators) -> None:
    early, late = waiting(store, 1), waiting(store, 2)
    famous = waiting(store, 3, attributes={"reach": 12000})
    sure = waiting(store, 4, 0.97)
    unscored = done(store, verdict=replace(VERDICT, score=None, class_scores={}), content=f"{5:064x}").check_id
    expected = [sure, famous, early, late, unscored]
    assert [row for (row,) in run("SELECT id FROM dashboard.review_queue")] == expected
    claims = [moderators.claim("ada") for _ in expected]
    assert [claim["check_id"] for claim in claims if claim] == expected
    assert moderators.claim("ada") is None
    assert run("SELECT DISTINCT claimed_by FROM dashboard.review_queue") == [("ada",)]


def test_a_reach_that_is_no_number_or_no_sensible_one_does_no_harm(store: Store, run: Sql) -> None:
    values = ["many", True, None, {}, [1], -5, 1e300, 10**400]
    expected = {waiting(store, number, attributes={"reach": reach}) for number, reach in enumerate(values)}
    rows = run("SELECT id, reach_rank FROM dashboard.review_queue")
    assert {check_id for check_id, _ in rows} == expected
    assert sorted(rank for _, rank in rows) == [-1e12, -1e12, 0, 0, 0, 0, 0, 0]


def test_a_claim_has_what_a_person_needs_and_the_map(store: Store, moderators: Moderators) -> None:
    check_id = waiting(store, 1, external_id="upload-1", attributes={"country": "de"})
    claim = moderators.claim("ada")
    assert claim is not None
    shown = {"source": "avatars", "external_id": "upload-1", "why": "policy", "decision": "synthetic", "width": 896}
    assert claim.items() >= shown.items()
    assert claim["attributes"] == {"country": "de"}
    [row] = moderators.call("SELECT dashboard.claimed_map(%s, 'ada') AS map", claim["claim_id"])
    assert row["map"].startswith(b"\x89PNG")
    assert refused(moderators.call, "SELECT dashboard.claimed_map(%s, 'ben')", claim["claim_id"]).sqlstate == "SY005"
    moderators.review(claim, "ada")
    assert store.show(check_id).verdict is not None


FILTERS: list[tuple[dict[str, object], int]] = [
    ({"source": "chat"}, 1), ({"lane": "backfill"}, 0), ({"policy": "default"}, 2), ({"decision": "synthetic"}, 2),
    ({"generator": "beta"}, 0), ({"min_score": 0.8}, 1), ({"max_score": 0.8}, 1), ({"why": "policy"}, 2),
    ({"why": "audit"}, 0), ({"since": "2020-01-01"}, 2), ({"since": "2200-01-01"}, 0),
    ({"attributes": {"country": "de"}}, 1), ({"source": "chat", "min_score": 0.8}, 0), ({}, 2),
]  # fmt: skip


def test_filters_restrict_what_is_given(store: Store, moderators: Moderators) -> None:
    waiting(store, 1, 0.9)
    waiting(store, 2, source="chat", attributes={"country": "de"})
    for filters, count in FILTERS:
        given = [claim for _ in range(3) if (claim := moderators.claim("ada", **filters))]
        assert len(given) == count, filters
        for claim in given:
            moderators.call("SELECT dashboard.release_claim(%s, 'ada')", claim["claim_id"])


REFUSED_FILTERS = [
    ('{"sauce": "chat"}', "no filter sauce"),
    ('{"source": 3}', "source does not take number"),
    ('{"min_score": "high"}', "min_score does not take string"),
    ('{"why": "because"}', "policy or audit"),
    ('{"source\'; DROP TABLE susy.reviews; --": "x"}', "no filter"),
    ('["source"]', "filters are an object"),
    ("null", "filters are an object"),
    ('{"since": "yesteryear"}', "yesteryear"),
]


def test_a_filter_that_cannot_be_meant_is_refused(store: Store, moderators: Moderators) -> None:
    waiting(store, 1)
    query = "SELECT * FROM dashboard.claim_next_review('ada', %s::jsonb)"
    for filters, problem in REFUSED_FILTERS:
        assert problem in str(refused(moderators.call, query, filters)), filters
    assert moderators.claim("ada", source="chat' OR true; --") is None


def test_twenty_moderators_at_once_never_get_the_same_check_nor_the_same_image(
    store: Store, run: Sql, moderators: Moderators
) -> None:
    for number in range(60):
        waiting(store, number // 2)  # each content twice
    together = threading.Barrier(20)

    def claim_all(number: int) -> list[UUID]:
        claims = []
        together.wait()
        with moderators.connection() as connection:
            for _ in range(2):
                row = connection.execute("SELECT * FROM dashboard.claim_next_review(%s)", [f"m{number}"]).fetchone()
                claims += [] if row is None else [row["check_id"]]
        return claims

    with ThreadPoolExecutor(20) as pool:
        given = [check_id for claims in pool.map(claim_all, range(20)) for check_id in claims]
    assert len(given) == len(set(given)) == 30
    contents = run("SELECT count(DISTINCT content_sha256) FROM susy.checks WHERE id = ANY (%s)", given)
    assert contents == [(30,)]
    assert moderators.claim("late") is None


def test_an_expired_claim_is_given_to_another_and_its_holder_is_told(
    store: Store, run: Sql, moderators: Moderators
) -> None:
    check_id = waiting(store, 1)
    first = moderators.claim("ada", 1)
    assert first is not None
    assert moderators.claim("ben") is None
    time.sleep(1.1)
    second = moderators.claim("ben")
    assert second is not None
    assert second["check_id"] == check_id
    error = refused(moderators.review, first, "ada")
    assert (error.sqlstate, str(check_id) in str(error), "expired" in str(error)) == ("SY005", True, True)
    moderators.review(second, "ben", "synthetic")
    assert run("SELECT reviewer, decision FROM dashboard.reviews") == [("ben", "synthetic")]
    assert run(LOG) == [("ada", "claimed"), ("ada", "expired"), ("ben", "claimed"), ("ben", "decided")]


def test_a_late_decision_counts_while_nobody_else_was_given_the_check(
    store: Store, run: Sql, moderators: Moderators
) -> None:
    waiting(store, 1)
    claim = moderators.claim("ada", 1)
    assert claim is not None
    time.sleep(1.1)
    moderators.review(claim, "ada")
    assert run("SELECT outcome FROM dashboard.review_claims") == [("decided",)]
    assert moderators.claim("ben") is None


def test_a_claim_that_expires_while_its_holder_decides_has_one_winner(
    store: Store, run: Sql, moderators: Moderators
) -> None:
    """Whatever the moment: either the holder's decision counts and nobody is given the check, or the other has it."""
    waiting(store, 1)
    for round_ in range(8):
        claim = moderators.claim("ada")
        assert claim is not None
        run("UPDATE susy.open_claims SET claimed_until = now()")
        together = threading.Barrier(2)

        def decide(claim: dict[str, Any] = claim, together: threading.Barrier = together) -> UUID | None:
            together.wait()
            try:
                return moderators.review(claim, "ada")
            except psycopg.Error as error:
                if error.sqlstate != "SY005":
                    raise
                return None

        def take(together: threading.Barrier = together) -> dict[str, Any] | None:
            together.wait()
            return moderators.claim("ben")

        with ThreadPoolExecutor(2) as pool:
            decided, taken = pool.submit(decide), pool.submit(take)
        assert (decided.result() is None) is (taken.result() is not None), round_
        if review_id := decided.result():
            store.reviews.undo(review_id, by="test", reason="once more")
        if other := taken.result():
            moderators.call("SELECT dashboard.release_claim(%s, 'ben')", other["claim_id"])
    ended = run("SELECT count(*) FROM dashboard.review_claims WHERE outcome IS NULL")
    assert ended == [(0,)]


def test_a_claim_is_extended_skipped_with_a_reason_and_released(store: Store, run: Sql, moderators: Moderators) -> None:
    check_id = waiting(store, 1)
    claim = moderators.claim("ada", 60)
    assert claim is not None
    [extended] = moderators.call("SELECT dashboard.extend_claim(%s, 'ada', 900) AS until", claim["claim_id"])
    assert extended["until"] > claim["claimed_until"]
    skip = "SELECT dashboard.skip_claim(%s, 'ada', %s)"
    assert "says why" in str(refused(moderators.call, skip, claim["claim_id"], " "))
    moderators.call(skip, claim["claim_id"], "I know the person")
    assert moderators.claim("ada") is None  # does not come back to who skipped it
    other = moderators.claim("ben")
    assert other is not None
    assert other["check_id"] == check_id
    moderators.call("SELECT dashboard.release_claim(%s, 'ben')", other["claim_id"])
    assert moderators.claim("ben") is not None
    rows = run("SELECT moderator, outcome, reason, extensions FROM dashboard.review_claims ORDER BY claimed_at")
    assert rows == [
        ("ada", "skipped", "I know the person", 1),
        ("ben", "released", None, 0),
        ("ben", None, None, 0),
    ]


def test_the_time_to_decision_is_that_of_the_claim(store: Store, run: Sql, moderators: Moderators) -> None:
    waiting(store, 1)
    claim = moderators.claim("ada")
    assert claim is not None
    time.sleep(0.3)
    moderators.review(claim, "ada")
    [(outcome, seconds)] = run("SELECT outcome, seconds FROM dashboard.review_claims")
    assert outcome == "decided"
    assert 0.3 <= seconds < 5


def test_a_decision_without_the_claims_id_ends_ones_own_claim(store: Store, run: Sql, moderators: Moderators) -> None:
    check_id = waiting(store, 1)
    assert moderators.claim("ada") is not None
    store.add_review(check_id, reviewer=" ada ", decision=Decision.AUTHENTIC)
    assert run(LOG) == [("ada", "claimed"), ("ada", "decided")]


def test_a_review_by_somebody_else_withdraws_the_claim(store: Store, run: Sql, moderators: Moderators) -> None:
    check_id = waiting(store, 1)
    claim = moderators.claim("ada")
    assert claim is not None
    store.add_review(check_id, reviewer="ben", decision=Decision.AUTHENTIC)
    assert "withdrawn" in str(refused(moderators.review, claim, "ada"))
    assert run(LOG) == [("ada", "claimed"), ("ada", "withdrawn")]


def test_deciding_again_by_a_policy_keeps_the_place_and_the_claim(
    store: Store, run: Sql, moderators: Moderators
) -> None:
    check_id = waiting(store, 1)
    since = run("SELECT waiting_since FROM dashboard.review_queue")
    claim = moderators.claim("ada")
    assert claim is not None
    run("UPDATE susy.verdicts SET mode = 'superseded', superseded_at = now() WHERE check_id = %s", check_id)
    columns = "scan_id, policy_name, decision, class_scores, reasons, needs_review, regions"
    run("INSERT INTO susy.policies (name, version, document) VALUES ('default', 'new', '{}')")
    run(
        f"INSERT INTO susy.verdicts (id, check_id, policy_version, mode, {columns})"
        f" SELECT gen_random_uuid(), check_id, 'new', 'live', {columns} FROM susy.verdicts WHERE check_id = %s",
        check_id,
    )
    assert run("SELECT waiting_since FROM dashboard.review_queue") == since
    moderators.review(claim, "ada")
    assert run("SELECT count(*) FROM susy.review_items") == [(0,)]


def test_a_verdict_that_needs_nobody_is_not_given(store: Store, moderators: Moderators) -> None:
    done(store, verdict=calm())
    assert moderators.claim("ada") is None


def test_who_holds_fifty_claims_gets_no_more(store: Store, moderators: Moderators) -> None:
    for number in range(51):
        waiting(store, number)
    with moderators.connection() as connection:
        for _ in range(50):
            assert connection.execute("SELECT FROM dashboard.claim_next_review('ada')").fetchone() is not None
    assert refused(moderators.claim, "ada").sqlstate == "SY006"
    assert moderators.claim("ben") is not None


def test_a_claim_names_its_moderator_and_a_time(store: Store, moderators: Moderators) -> None:
    waiting(store, 1)
    query = "SELECT * FROM dashboard.claim_next_review(%s, '{}', %s)"
    for moderator, seconds in (("", 60), ("  ", 60), (None, 60), ("ada", 0), ("ada", 86401), ("ada", None)):
        assert isinstance(refused(moderators.call, query, moderator, seconds), psycopg.errors.InvalidParameterValue)


def test_a_claim_that_does_not_exist_is_named(moderators: Moderators) -> None:
    unknown = uuid4()
    for query in ("extend_claim(%s, 'ada')", "release_claim(%s, 'ada')", "skip_claim(%s, 'ada', 'x')"):
        assert str(unknown) in str(refused(moderators.call, f"SELECT dashboard.{query}", unknown))


FORBIDDEN = [
    "SELECT * FROM dashboard.checks", "SELECT * FROM dashboard.reviews", "SELECT * FROM dashboard.review_queue",
    "SELECT * FROM dashboard.double_reviews", "SELECT * FROM dashboard.review_claims",
    "SELECT * FROM dashboard.reviewer_accuracy", "SELECT * FROM dashboard.audit_log",
    "SELECT * FROM dashboard.reviewer_agreement", "SELECT * FROM susy.reviews", "SELECT * FROM susy.golden_items",
    "SELECT * FROM susy.open_claims", "SELECT susy.undo_reviews(gen_random_uuid(), 'a', 'b')",
    "INSERT INTO susy.reviews DEFAULT VALUES", "DELETE FROM susy.review_items",
    "UPDATE susy.checks SET lane = 'live'",
    "CREATE TABLE dashboard.mine ()",
]  # fmt: skip


def test_a_moderators_tool_reads_and_writes_nothing_itself(moderators: Moderators) -> None:
    with moderators.connection() as connection:
        for statement in FORBIDDEN:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)


QUEUE = """
INSERT INTO susy.checks (id, source, external_id, uri, lane, state, finished_at, content_sha256)
SELECT gen_random_uuid(), 'source-' || i %% 50, i::text, '/images/1.jpg', 'live', 'done', now(),
    encode(sha256(i::text::bytea), 'hex')
FROM generate_series(1, 40000) AS i;
INSERT INTO susy.verdicts (
    id, check_id, scan_id, policy_name, policy_version, mode, decision, score, class_scores, reasons, needs_review,
    regions
)
SELECT gen_random_uuid(), id, %s, 'default', '1a2b3c', 'live', 'synthetic', (external_id::int %% 90) / 100.0, '{}',
    '{}', true, '[]'
FROM susy.checks WHERE source LIKE 'source-%%';
ANALYZE susy.checks;
ANALYZE susy.verdicts;
ANALYZE susy.review_items;
"""


def explained(run: Sql, query: str) -> str:
    return "\n".join(line for (line,) in run(f"EXPLAIN {query}"))


def test_a_long_queue_is_read_by_its_indexes(store: Store, run: Sql) -> None:
    done(store)
    [(scan_id,)] = run("SELECT id FROM susy.scans")
    for statement in QUEUE.split(";\n")[:-1]:
        run(statement, scan_id) if "%s" in statement else run(statement.replace("%%", "%"))
    plans = {
        "ix_review_items_priority": "SELECT id FROM dashboard.review_queue LIMIT 50",
        "ix_review_items_source": "SELECT i.check_id FROM susy.review_items AS i WHERE i.source = 'source-7'"
        " ORDER BY i.score_band, i.reach_rank, i.waiting_since, i.check_id LIMIT 1 FOR UPDATE OF i SKIP LOCKED",
    }
    for index, query in plans.items():
        plan = explained(run, query)
        assert index in plan, plan
        assert "Seq Scan on review_items" not in plan
        assert "Seq Scan on checks" not in plan
    page = (
        "SELECT id FROM dashboard.review_queue"
        " WHERE (score_band, reach_rank, waiting_since, id) > (3, 0::float8, now(), gen_random_uuid()) LIMIT 50"
    )
    plan = explained(run, page)
    assert "ix_review_items_priority" in plan
    assert "Sort" not in plan, plan
    # Claims read a few pages of the whole queue, with a filter and without.
    for filters in ("{}", '{"source": "source-7", "min_score": 0.5}', '{"max_score": 0.02}'):
        claim = f"SELECT * FROM dashboard.claim_next_review('ada', '{filters}')"
        [(found,)] = run(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {claim}")
        plan = found[0]["Plan"]
        assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] < 2000, plan
        assert plan["Actual Rows"] in (0, 1)
