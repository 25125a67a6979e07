"""What those who supervise moderators do over HTTP, with a key that has the scope `supervise` and nothing else."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from schema.access import Scope
from schema.states import Decision
from tests.support.databases import Sql
from tests.support.http_service import Client, Service
from tests.support.ledger import claimed, done, submission
from tests.support.moderating import Moderators
from worker.errors import ErrorCode
from worker.store import Store

BULK = "/v1/reviews/bulk"
CAMPAIGN = {"reviewer": "grace", "decision": "authentic", "note": "a campaign", "filters": {"source": "avatars"}}


@pytest.fixture
def supervisor(service: Service, store: Store) -> Client:
    return service.client(store.keys.add("supervisor", [Scope.SUPERVISE]))


def final(run: Sql) -> list[str | None]:
    return [row for (row,) in run("SELECT final_decision FROM dashboard.checks ORDER BY id")]


def test_a_bulk_review_is_tried_made_listed_and_undone_as_one(supervisor: Client, store: Store, run: Sql) -> None:
    check_ids = [done(store).check_id for _ in range(2)]
    broken = claimed(store)
    store.fail(broken, code=ErrorCode.CORRUPT, message="broken", retry_in=None)
    store.submit(submission())
    tried = supervisor.post(BULK, CAMPAIGN | {"dry_run": True})
    assert (tried.status, tried.document) == (
        200,
        {
            "checks": 3,
            "matching": [
                {"source": "avatars", "decision": "synthetic", "checks": 2},
                {"source": "avatars", "decision": None, "checks": 1},
            ],
        },
    )
    assert run("SELECT count(*) FROM susy.reviews") == [(0,)]
    made = supervisor.post(BULK, CAMPAIGN)
    assert (made.status, made.document["reviews"]) == (201, 3)
    assert final(run) == ["authentic", "authentic", "authentic", None]
    [listed] = supervisor.get(f"/v1/checks/{check_ids[0]}/reviews").document["reviews"]
    assert listed.items() >= {"reviewer": "grace", "note": "a campaign", "undone_at": None}.items()
    assert listed["batch_id"] == made.document["batch_id"]
    undo = {"target": made.document["batch_id"], "by": "ada", "reason": "too wide"}
    undone = supervisor.post("/v1/reviews/undos", undo)
    assert (undone.status, undone.document["reviews"]) == (201, 3)
    again = supervisor.post("/v1/reviews/undos", undo)
    assert (again.status, again.code) == (409, "conflict")
    assert final(run) == ["synthetic", "synthetic", None, None]
    assert supervisor.get(f"/v1/checks/{check_ids[0]}/reviews").document["reviews"][0]["undone_at"]
    log = run("SELECT actor, action, reason FROM dashboard.audit_log WHERE kind = 'review' ORDER BY at")
    assert log == [("grace", "bulk authentic", "a campaign"), ("ada", "undo", "too wide")]


def test_a_bulk_review_that_is_repeated_after_a_lost_answer_reviews_nothing_twice(
    supervisor: Client, store: Store, run: Sql
) -> None:
    done(store)
    first = supervisor.post(BULK, CAMPAIGN, Idempotency_Key="once")
    done(store)  # matches too, and came later
    assert supervisor.post(BULK, CAMPAIGN, Idempotency_Key="once").document == first.document
    assert supervisor.post(BULK, CAMPAIGN | {"decision": "synthetic"}, Idempotency_Key="once").code == "conflict"
    assert run("SELECT count(*) FROM susy.reviews") == [(1,)]


def test_reviews_of_a_check_are_read_page_by_page(supervisor: Client, store: Store) -> None:
    check_id = done(store).check_id
    for number in range(5):
        store.add_review(check_id, reviewer=f"m{number}", decision=Decision.SYNTHETIC)
    path, after, seen = f"/v1/checks/{check_id}/reviews", "", []
    while True:
        page = supervisor.get(f"{path}?limit=2{after}").document
        seen += [each["reviewer"] for each in page["reviews"]]
        if page["next"] is None:
            break
        after = f"&after={page['next']}"
    assert seen == ["m0", "m1", "m2", "m3", "m4"]
    assert supervisor.get(f"{path}?after={uuid4()}").document == {"reviews": [], "next": None}
    assert supervisor.get(f"/v1/checks/{uuid4()}/reviews").code == "unknown_check"


def test_moderators_are_compared(supervisor: Client, store: Store, run: Sql, moderators: Moderators) -> None:
    assert supervisor.get("/v1/reviews/agreement").document == {"agreement": []}
    assert supervisor.get("/v1/reviews/accuracy").document == {"accuracy": []}
    run(
        "INSERT INTO susy.policy_revisions (revision, configuration, change, changed_by, reason)"
        """ VALUES (1, '{"reviews": {"second_rate": 1, "golden_rate": 1}}', 'rates', 'test', 'test')"""
    )
    golden = done(store, content="b" * 64).check_id
    store.add_review(golden, reviewer="expert", decision=Decision.SYNTHETIC)
    store.reviews.add_golden(golden, by="grace", reason="known")
    done(store, content="a" * 64)
    for moderator in ("ada", "ben"):
        for _ in range(2):
            claim = moderators.claim(moderator)
            assert claim is not None
            moderators.review(claim, moderator, "synthetic")
    whole, pair = supervisor.get("/v1/reviews/agreement?source=avatars&since=2020-01-01T00:00:00Z").document[
        "agreement"
    ]
    assert (whole["reviewer"], whole["checks"]) == (None, 1)
    assert (pair["reviewer"], pair["other_reviewer"], pair["agreement"]) == ("ada", "ben", 1.0)
    answered = supervisor.get("/v1/reviews/accuracy").document["accuracy"]
    assert [(each["reviewer"], each["correct"]) for each in answered] == [("ada", 1), ("ben", 1)]
    assert supervisor.get("/v1/reviews/agreement?since=2200-01-01T00:00:00Z").document == {"agreement": []}


def test_a_key_of_one_source_supervises_that_source_alone(service: Service, store: Store, run: Sql) -> None:
    chat = service.client(store.keys.add("chat", [Scope.SUPERVISE], sources=["chat"]))
    other = done(store).check_id
    mine = done(store, source="chat").check_id
    assert chat.post(BULK, CAMPAIGN).code == "forbidden_source"
    everything = CAMPAIGN | {"filters": {"decision": "synthetic"}}
    assert chat.post(BULK, everything | {"dry_run": True}).document["checks"] == 1
    made = chat.post(BULK, everything).document
    assert made["reviews"] == 1
    assert run("SELECT check_id FROM susy.reviews") == [(mine,)]
    review = store.add_review(other, reviewer="ada", decision=Decision.AUTHENTIC)
    undo = {"target": str(review), "by": "ada", "reason": "x"}
    assert chat.post("/v1/reviews/undos", undo).code == "unknown_review"
    assert chat.post("/v1/reviews/undos", undo | {"target": made["batch_id"]}).status == 201
    assert chat.get(f"/v1/checks/{other}/reviews").code == "unknown_check"
    assert chat.get("/v1/reviews/agreement").code == "forbidden_source"
    assert chat.get("/v1/reviews/agreement?source=avatars").code == "forbidden_source"
    assert chat.get("/v1/reviews/agreement?source=chat").status == 200
    assert chat.get("/v1/reviews/accuracy").code == "forbidden_source"


WRONG: list[tuple[dict[str, Any], int, str]] = [
    ({"filters": {}}, 422, "needs a filter"),
    ({"filters": {"reviewed_too": True}}, 422, "needs a filter"),
    ({"filters": {"sauce": "x"}}, 422, "sauce"),
    ({"filters": {"source": "nobody"}}, 404, "no check that has ended"),
    ({"filters": {"min_score": -1}}, 422, "min_score"),
    ({"filters": {"state": "gone"}}, 422, "state"),
    ({"decision": "fake"}, 422, "decision"),
    ({"reviewer": " "}, 422, "names its reviewer"),
    ({"reviewer": "ada\x1b]0;x\x07"}, 422, "control"),
    ({"limit": 0}, 422, "limit"),
    ({"limit": 10_001}, 422, "limit"),
    ({"note": "\x00"}, 422, "note"),
]


def test_what_cannot_be_meant_is_refused_and_nothing_is_written(supervisor: Client, store: Store, run: Sql) -> None:
    done(store)
    for changes, status, problem in WRONG:
        refused = supervisor.post(BULK, CAMPAIGN | changes)
        assert (refused.status, problem in refused.document["detail"]) == (status, True), (changes, refused.document)
    undo = {"target": str(uuid4()), "by": "ada", "reason": "x"}
    assert supervisor.post("/v1/reviews/undos", undo).code == "unknown_review"
    assert supervisor.post("/v1/reviews/undos", undo | {"by": "\u3000"}).code == "invalid_message"
    assert supervisor.get("/v1/reviews/agreement?since=2020-01-01T00:00:00").code == "invalid_message"
    assert run("SELECT count(*) FROM dashboard.audit_log WHERE kind = 'review'") == [(0,)]
