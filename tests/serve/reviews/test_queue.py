"""The review queue over HTTP: page by page in the order of claims, and counted. It tells no decision of a person."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from schema.access import Scope
from schema.states import Decision
from tests.support.databases import Sql
from tests.support.http_service import Client, Service
from tests.support.ledger import VERDICT, calm, done, submission
from worker.store import Store

QUEUE = "/v1/reviews/queue"
CLAIMS = "/v1/reviews/claims"


def waiting(store: Store, number: int, score: float | None = 0.5, **changes: Any) -> str:
    verdict = replace(VERDICT, score=score, class_scores=VERDICT.class_scores if score is not None else {})
    return str(done(store, verdict=verdict, content=f"{number:064x}", **changes).check_id)


def page(tool: Client, **query: Any) -> Any:
    answer = tool.get(f"{QUEUE}?{urlencode(query, doseq=True)}")
    assert answer.status == 200, answer
    return answer.document


def listed(tool: Client, **query: Any) -> list[str]:
    """The checks of all pages."""
    return [check["check_id"] for each in pages(tool, **query) for check in each["checks"]]


def pages(tool: Client, **query: Any) -> Iterator[Any]:
    found = page(tool, **query)
    yield found
    while found["next"] is not None:
        found = page(tool, **query, after=found["next"])
        yield found


def counted(tool: Client, **query: Any) -> dict[str, int]:
    found = tool.get(f"{QUEUE}/counts?{urlencode(query, doseq=True)}")
    assert found.status == 200, found
    return {each["why"]: each["checks"] for each in found.document["waiting"]}


def rates(run: Sql, second: float, golden: float) -> None:
    run(
        "INSERT INTO susy.policy_revisions (revision, configuration, change, changed_by, reason)"
        " VALUES (1, jsonb_build_object('reviews', jsonb_build_object('second_rate', %s::float, 'golden_rate',"
        " %s::float)), 'rates', 'test', 'test')",
        second,
        golden,
    )


def test_the_queue_is_listed_page_by_page_in_the_order_of_claims(tool: Client, store: Store) -> None:
    early, late = waiting(store, 1), waiting(store, 2)
    famous = waiting(store, 3, attributes={"reach": 12000.5})
    sure = waiting(store, 4, 0.97)
    unscored = waiting(store, 5, None)
    done(store, verdict=calm())
    store.submit(submission(external_id="queued"))
    expected = [sure, famous, early, late, unscored]
    for limit in (1, 2, 5, 100):
        assert listed(tool, limit=limit) == expected, limit
    assert [len(each["checks"]) for each in pages(tool, limit=2)] == [2, 2, 1]
    claims = [tool.post(CLAIMS, {"moderator": "ada"}).document["check_id"] for _ in expected]
    assert claims == expected


def test_a_listed_check_says_what_waits_and_since_when_it_does(tool: Client, store: Store, run: Sql) -> None:
    check_id = waiting(store, 1, 0.97, external_id="upload-1", attributes={"country": "de"})
    [check] = page(tool)["checks"]
    [(since,)] = run("SELECT waiting_since FROM susy.review_items")
    shown = {"check_id": check_id, "external_id": "upload-1", "why": "policy", "decision": "synthetic", "score": 0.97}
    assert check.items() >= shown.items()
    assert (check["attributes"], check["waiting_since"]) == ({"country": "de"}, since.isoformat())
    assert check["claimed_until"] is None
    claim = tool.post(CLAIMS, {"moderator": "ada"}).document
    [claimed] = page(tool)["checks"]
    assert claimed == check | {"claimed_until": claim["claimed_until"]}
    assert "ada" not in str(claimed)


def test_a_page_continues_where_it_ended_although_the_check_there_was_reviewed(tool: Client, store: Store) -> None:
    checks = [waiting(store, number, 0.9 - number / 10) for number in range(5)]
    first = page(tool, limit=2)
    for check_id in checks[:2]:
        store.add_review(UUID(check_id), reviewer="ada", decision=Decision.AUTHENTIC)
    higher = waiting(store, 9, 0.99)
    assert [check["check_id"] for check in page(tool, limit=9, after=first["next"])["checks"]] == checks[2:]
    assert listed(tool) == [higher, *checks[2:]]


FILTERS: list[tuple[dict[str, object], int]] = [
    ({"source": "chat"}, 1), ({"source": ["chat", "avatars"]}, 2), ({"source": "none"}, 0), ({"lane": "backfill"}, 0),
    ({"policy": "default"}, 2), ({"decision": "synthetic"}, 2), ({"generator": "beta"}, 0), ({"min_score": 0.8}, 1),
    ({"max_score": 0.8}, 1), ({"why": "policy"}, 2), ({"why": "audit"}, 0), ({"since": "2020-01-01T00:00:00Z"}, 2),
    ({"since": "2200-01-01T00:00:00Z"}, 0), ({"attributes": '{"country": "de"}'}, 1),
    ({"source": "chat", "min_score": 0.8}, 0),
]  # fmt: skip


def test_filters_are_those_of_claims(tool: Client, store: Store) -> None:
    waiting(store, 1, 0.9)
    waiting(store, 2, source="chat", attributes={"country": "de"})
    for filters, count in FILTERS:
        assert len(listed(tool, **filters)) == count, filters


def test_the_counts_say_how_many_wait_for_which_reason_and_since_when(tool: Client, store: Store, run: Sql) -> None:
    assert counted(tool) == {"policy": 0, "audit": 0}
    for number in range(3):
        waiting(store, number, source="chat" if number == 2 else "avatars")
    run("UPDATE susy.review_items SET needs_review = false WHERE source = 'chat'")
    assert counted(tool) == {"policy": 2, "audit": 1}
    assert counted(tool, source="avatars") == {"policy": 2, "audit": 0}
    assert counted(tool, source=["chat", "none"]) == {"policy": 0, "audit": 1}
    [policy, audit] = tool.get(f"{QUEUE}/counts").document["waiting"]
    oldest = run("SELECT needs_review, min(waiting_since) FROM susy.review_items GROUP BY 1 ORDER BY 1 DESC")
    assert [policy["oldest"], audit["oldest"]] == [since.isoformat() for _, since in oldest]
    assert not policy["capped"]


def test_a_key_of_some_sources_lists_and_counts_these_alone(tool: Client, service: Service, store: Store) -> None:
    chat = service.client(store.keys.add("chat", [Scope.REVIEW], sources=["chat", "groups"]))
    waiting(store, 1, 0.9)
    mine = [waiting(store, 2, 0.8, source="groups"), waiting(store, 3, 0.7, source="chat")]
    assert listed(chat, limit=1) == mine
    assert listed(chat, source="chat") == mine[1:]
    assert counted(chat) == {"policy": 2, "audit": 0}
    assert counted(tool) == {"policy": 3, "audit": 0}
    for path in (QUEUE, f"{QUEUE}/counts"):
        for query in ("source=avatars", "source=chat&source=avatars"):
            assert chat.get(f"{path}?{query}").code == "forbidden_source"


def test_contents_of_second_reviews_are_not_listed_in_any_of_their_reviews(
    tool: Client, store: Store, run: Sql
) -> None:
    rates(run, second=1, golden=0)
    check_id = waiting(store, 1)
    answers = []
    for moderator, decision in (("ada", "inconclusive"), ("ben", "authentic"), ("eve", "authentic")):
        answers.append((page(tool), tool.get(f"{QUEUE}/counts").document))
        claim = tool.post(CLAIMS, {"moderator": moderator}).document
        assert claim["check_id"] == check_id
        answers.append((page(tool), tool.get(f"{QUEUE}/counts").document))
        decided = tool.post(f"{CLAIMS}/{claim['claim_id']}/decide", {"moderator": moderator, "decision": decision})
        assert decided.status == 201
    answers.append((page(tool), tool.get(f"{QUEUE}/counts").document))
    assert all(answer == answers[0] for answer in answers)
    assert answers[0][0] == {"checks": [], "next": None}


def test_only_the_contents_that_are_drawn_for_second_reviews_are_not_listed(
    tool: Client, store: Store, run: Sql
) -> None:
    rates(run, second=0.5, golden=0)
    checks = [waiting(store, number) for number in range(16)]
    drawn = run("SELECT id::text FROM susy.checks WHERE susy.draws('second:' || content_sha256, 0.5)")
    assert set(listed(tool)) == set(checks) - {check_id for (check_id,) in drawn}
    assert 0 < len(drawn) < len(checks)


def test_beside_golden_items_other_checks_are_not_listed_either(tool: Client, store: Store, run: Sql) -> None:
    rates(run, second=0, golden=0.25)
    golden = waiting(store, 1)
    store.add_review(UUID(golden), reviewer="expert", decision=Decision.SYNTHETIC)
    store.reviews.add_golden(UUID(golden), by="grace", reason="known")
    ordinary = [waiting(store, number) for number in range(2, 26)]
    shown = listed(tool)
    drawn = run("SELECT id::text FROM susy.checks WHERE susy.draws('unlisted:' || content_sha256, 0.5)")
    assert set(shown) == set(ordinary) - {check_id for (check_id,) in drawn}
    assert 0 < len(shown) < len(ordinary)
    assert counted(tool)["policy"] == len(shown)


WRONG = [
    ("sauce=x", "sauce"), ("limit=0", "limit"), ("limit=501", "limit"), ("min_score=2", "min_score"),
    ("why=because", "why"), ("decision=fake", "decision"), ("since=yesteryear", "since"), ("lane=fast", "lane"),
    ("source=", "source"), ("attributes=%5B1%5D", "attributes"), ("attributes=%7B", "attributes"),
    ("attributes=%7B%22a%22%3A%22%5Cu0000%22%7D", ""), ("policy=%00", "policy"), ("after=x", "after"),
    ("after=bm90aGluZw", "after"), ("after=W10", "after"), ("after=" + "W" * 400, "after"),
    ("&".join(f"source={number}" for number in range(101)), "source"),
]  # fmt: skip


def test_what_cannot_be_meant_is_refused_in_one_line(tool: Client, store: Store) -> None:
    waiting(store, 1)
    for query, problem in WRONG:
        refused = tool.get(f"{QUEUE}?{query}")
        assert (refused.status, refused.code) == (422, "invalid_message"), query
        assert problem in refused.document["detail"], (query, refused.document)
        assert refused.document["detail"].isprintable()


def test_other_scopes_do_not_list_the_queue(service: Service, store: Store) -> None:
    other = service.client(store.keys.add("other", [Scope.READ, Scope.SUBMIT, Scope.SUPERVISE]))
    for path in (QUEUE, f"{QUEUE}/counts"):
        refused = other.get(path)
        assert (refused.status, refused.code) == (403, "missing_scope"), path
