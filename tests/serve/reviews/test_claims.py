"""What a moderators' tool does over HTTP, with a key that has the scope `review` and nothing else."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest

from schema.access import Scope
from schema.states import Decision
from tests.support.databases import Sql
from tests.support.http_service import Answer, Client, Service
from tests.support.ledger import MAP, VERDICT, done
from worker.store import Store

CLAIMS = "/v1/reviews/claims"


def waiting(store: Store, number: int, score: float = 0.5, **changes: Any) -> UUID:
    return done(store, verdict=replace(VERDICT, score=score), content=f"{number:064x}", **changes).check_id


def claimed(tool: Client, moderator: str = "ada", **body: Any) -> dict[str, Any]:
    answer = tool.post(CLAIMS, {"moderator": moderator, **body})
    assert answer.status == 201, answer
    claim: dict[str, Any] = answer.document
    return claim


def act(tool: Client, claim: dict[str, Any], action: str, moderator: str = "ada", **body: Any) -> Answer:
    return tool.post(f"{CLAIMS}/{claim['claim_id']}/{action}", {"moderator": moderator, **body})


def test_a_day_of_a_moderator(tool: Client, store: Store, run: Sql) -> None:
    first, second, third = (waiting(store, number, score) for number, score in ((1, 0.9), (2, 0.6), (3, 0.3)))
    claim = claimed(tool, seconds=60)
    assert (claim["check_id"], claim["why"], claim["decision"]) == (str(first), "policy", "synthetic")
    extended = act(tool, claim, "extend", seconds=900)
    assert (extended.status, extended.document["claimed_until"] > claim["claimed_until"]) == (200, True)
    assert tool.get(claim["links"]["map"] + "?moderator=ada").body == MAP
    assert tool.get(claim["links"]["grid"] + "?moderator=ada").document["width"] == 896
    decided = act(tool, claim, "decide", decision="authentic", note="a poster")
    assert decided.status == 201
    skipped = claimed(tool, filters={"min_score": 0.5})
    assert skipped["check_id"] == str(second)
    assert act(tool, skipped, "skip", reason="I know the person").status == 204
    released = claimed(tool)
    assert released["check_id"] == str(third)
    assert act(tool, released, "release").status == 204
    assert [each["check_id"] for each in tool.get(f"{CLAIMS}?moderator=ada").document["claims"]] == []
    undone = tool.post(f"/v1/reviews/{decided.document['review_id']}/undo", {"reviewer": "ada", "reason": "a slip"})
    assert undone.status == 204
    assert run("SELECT final_decision FROM dashboard.checks WHERE id = %s", first) == [("synthetic",)]
    outcomes = run("SELECT outcome, reason FROM dashboard.review_claims ORDER BY claimed_at")
    assert outcomes == [("decided", None), ("skipped", "I know the person"), ("released", None)]
    log = run("SELECT actor, action, reason FROM dashboard.audit_log WHERE kind = 'review' ORDER BY at")
    assert log == [("ada", "authentic", "a poster"), ("ada", "undo", "a slip")]


def test_nothing_waits(tool: Client) -> None:
    answer = tool.post(CLAIMS, {"moderator": "ada"})
    assert (answer.status, answer.body) == (204, b"")


def test_a_page_that_was_closed_finds_its_claims_again(tool: Client, store: Store) -> None:
    waiting(store, 1)
    waiting(store, 2)
    given = [claimed(tool, seconds=600), claimed(tool, seconds=700)]
    assert tool.get(f"{CLAIMS}?moderator=%20ada%20").document == {"claims": given}
    assert tool.get(f"{CLAIMS}?moderator=ben").document == {"claims": []}


def test_a_request_that_is_repeated_after_a_lost_answer_does_nothing_twice(
    tool: Client, store: Store, run: Sql
) -> None:
    for number in range(3):
        waiting(store, number)
    body = {"moderator": "ada"}
    claims = [tool.post(CLAIMS, body, Idempotency_Key="k1").document for _ in range(2)]
    assert claims[0] == claims[1]
    assert tool.post(CLAIMS, {"moderator": "ben"}, Idempotency_Key="k1").code == "claim_ended"
    with ThreadPoolExecutor(8) as pool:
        same = list(pool.map(lambda _: tool.post(CLAIMS, body, Idempotency_Key="k2").document["claim_id"], range(8)))
    assert len(set(same)) == 1
    assert run("SELECT count(*) FROM susy.open_claims") == [(2,)]
    decided = [act(tool, claims[0], "decide", decision="authentic") for _ in range(2)]
    assert decided[0].document == decided[1].document
    assert act(tool, claims[0], "decide", decision="synthetic").code == "claim_ended"
    assert act(tool, claims[0], "decide", "ben", decision="authentic").code == "claim_ended"
    assert tool.post(CLAIMS, body, Idempotency_Key="k1").code == "claim_ended"
    path = f"/v1/checks/{claims[0]['check_id']}/reviews"
    review = {"reviewer": "ben", "decision": "synthetic"}
    reviews = [tool.post(path, review, Idempotency_Key="r").document for _ in range(2)]
    assert reviews[0] == reviews[1]
    assert tool.post(path, review | {"decision": "authentic"}, Idempotency_Key="r").code == "conflict"
    assert tool.post(path, review).document != reviews[0]
    assert run("SELECT count(*) FROM susy.reviews") == [(3,)]


@pytest.mark.parametrize("action", ["skip", "release"])
def test_giving_back_is_safe_to_repeat(tool: Client, store: Store, action: str) -> None:
    waiting(store, 1)
    body = {"reason": "blurred"} if action == "skip" else {}
    claim = claimed(tool)
    assert [act(tool, claim, action, **body).status for _ in range(2)] == [204, 204]
    assert act(tool, claim, action, "ben", **body).code == "claim_ended"
    assert act(tool, claim, "extend").code == "claim_ended"


def test_a_claim_that_expired_is_decided_late_only_while_nobody_else_has_the_check(
    tool: Client, store: Store, run: Sql
) -> None:
    waiting(store, 1)
    first = claimed(tool)
    run("UPDATE susy.open_claims SET claimed_until = now() - interval '1 second'")
    assert [each["claim_id"] for each in tool.get(f"{CLAIMS}?moderator=ada").document["claims"]] == [first["claim_id"]]
    second = claimed(tool, "ben")
    assert second["check_id"] == first["check_id"]
    late = act(tool, first, "decide", decision="authentic")
    assert (late.status, late.code, "expired" in late.document["detail"]) == (409, "claim_ended", True)
    assert tool.get(first["links"]["map"] + "?moderator=ada").code == "claim_ended"
    run("UPDATE susy.open_claims SET claimed_until = now() - interval '1 second'")
    assert act(tool, second, "decide", "ben", decision="synthetic").status == 201
    assert run("SELECT reviewer FROM dashboard.reviews") == [("ben",)]


def test_twenty_moderators_at_once_never_get_the_same_check_nor_the_same_image(
    tool: Client, store: Store, run: Sql
) -> None:
    for number in range(60):
        waiting(store, number // 2)  # each content twice
    together = threading.Barrier(20)

    def work(number: int) -> list[str]:
        together.wait()
        claims = [tool.post(CLAIMS, {"moderator": f"m{number}"}) for _ in range(2)]
        return [claim.document["check_id"] for claim in claims if claim.status == 201]

    with ThreadPoolExecutor(20) as pool:
        given = [check_id for mine in pool.map(work, range(20)) for check_id in mine]
    assert len(given) == len(set(given)) == 30
    contents = run("SELECT count(DISTINCT content_sha256) FROM susy.checks WHERE id = ANY (%s)", list(map(UUID, given)))
    assert contents == [(30,)]


def test_who_holds_fifty_claims_gets_no_more(tool: Client, store: Store) -> None:
    for number in range(51):
        waiting(store, number)
    while (answer := tool.post(CLAIMS, {"moderator": "ada"})).status == 201:
        pass
    assert (answer.status, answer.code) == (409, "too_many_claims")
    assert len(tool.get(f"{CLAIMS}?moderator=ada").document["claims"]) == 50


def test_the_second_person_learns_nothing_of_the_first_by_any_request(
    tool: Client, store: Store, run: Sql, service: Service
) -> None:
    """Nor of another check of the same image; and a golden item looks like any other check."""
    run(
        "INSERT INTO susy.policy_revisions (revision, configuration, change, changed_by, reason)"
        """ VALUES (1, '{"reviews": {"second_rate": 1, "golden_rate": 0}}', 'rates', 'test', 'test')"""
    )
    waiting(store, 1)
    first = claimed(tool)
    assert act(tool, first, "decide", decision="inconclusive", note="secret note").status == 201
    second = claimed(tool, "ben")
    assert second["check_id"] == first["check_id"]
    plain = {"claim_id", "claimed_until", "links"}
    assert {k: v for k, v in second.items() if k not in plain} == {k: v for k, v in first.items() if k not in plain}
    answers = [
        tool.get(f"{CLAIMS}?moderator=ben"),
        tool.get(second["links"]["map"] + "?moderator=ben"),
        tool.get(second["links"]["grid"] + "?moderator=ben"),
        act(tool, second, "extend", "ben"),
        tool.get(f"{CLAIMS}?moderator=ada"),
        act(tool, first, "decide", decision="authentic"),  # ada's own claim, and another answer
        tool.get("/v1/reviews/queue"),
        tool.get("/v1/reviews/queue/counts"),
        act(tool, second, "decide", "ben", decision="authentic"),
        tool.get("/v1/reviews/queue"),  # a third person is asked now, because the two disagree
        tool.get("/v1/reviews/queue/counts"),
    ]
    assert [answer.body for answer in answers[6:8]] == [answer.body for answer in answers[9:11]]
    for answer in answers:
        assert b"inconclusive" not in answer.body, answer
        assert b"secret" not in answer.body
    for path in (
        f"/v1/checks/{first['check_id']}",
        f"/v1/checks/{first['check_id']}/reviews",
        "/v1/events",
        "/v1/reviews/agreement",
        "/v1/reviews/accuracy",
    ):
        refused = tool.get(path)
        assert (refused.status, refused.code) == (403, "missing_scope"), path


def test_a_golden_item_looks_like_any_other_check_in_every_answer(tool: Client, store: Store, run: Sql) -> None:
    run(
        "INSERT INTO susy.policy_revisions (revision, configuration, change, changed_by, reason)"
        """ VALUES (1, '{"reviews": {"second_rate": 0, "golden_rate": 1}}', 'rates', 'test', 'test')"""
    )
    golden = waiting(store, 1)
    store.add_review(golden, reviewer="expert", decision=Decision.SYNTHETIC)
    store.reviews.add_golden(golden, by="grace", reason="known")
    waiting(store, 2)
    claims = [claimed(tool), claimed(tool)]
    assert claims[0]["check_id"] == str(golden)
    answers: list[list[tuple[int, Any]]] = []
    own = {"claim_id", "claimed_until", "check_id", "external_id", "links"}
    assert [{k: v for k, v in claim.items() if k not in own} for claim in claims].count(
        {k: v for k, v in claims[0].items() if k not in own}
    ) == 2
    for claim in claims:
        path = f"/v1/checks/{claim['check_id']}/reviews"
        steps = [
            act(tool, claim, "extend"),
            act(tool, claim, "decide", decision="authentic"),
            act(tool, claim, "decide", decision="authentic"),
            act(tool, claim, "decide", decision="synthetic"),
        ]
        review_id = steps[1].document["review_id"]
        undo = (f"/v1/reviews/{review_id}/undo", {"reviewer": "ada", "reason": "a slip"})
        steps += [tool.post(*undo), tool.post(*undo), tool.post(path, {"reviewer": "", "decision": "authentic"})]
        shapes = []
        for step in steps:
            ids = (claim["claim_id"], claim["check_id"], review_id)
            text = step.body.decode()
            for one in ids:
                text = text.replace(one, "ID")
            shapes.append((step.status, text if step.status >= 300 else sorted(json.loads(text or "{}"))))
        answers.append(shapes)
    assert answers[0] == answers[1]
    assert run("SELECT count(*) FROM susy.golden_answers") == [(2,)]


def test_a_key_of_one_source_claims_and_decides_that_source_alone(
    tool: Client, service: Service, store: Store, run: Sql
) -> None:
    chat = service.client(store.keys.add("chat", [Scope.REVIEW], sources=["chat", "groups"]))
    other = waiting(store, 1, 0.9)
    mine = waiting(store, 2, 0.1, source="chat")
    assert claimed(chat)["check_id"] == str(mine)
    assert chat.post(CLAIMS, {"moderator": "ada"}).status == 204
    for filters in ({"source": "avatars"}, {"sources": ["chat", "avatars"]}):
        assert chat.post(CLAIMS, {"moderator": "ada", "filters": filters}).code == "forbidden_source"
    claim = claimed(tool)
    assert claim["check_id"] == str(other)
    assert len(tool.get(f"{CLAIMS}?moderator=ada").document["claims"]) == 2
    assert len(chat.get(f"{CLAIMS}?moderator=ada").document["claims"]) == 1
    for action, body in (
        ("decide", {"decision": "authentic"}), ("extend", {}), ("skip", {"reason": "x"}), ("release", {})
    ):  # fmt: skip
        assert act(chat, claim, action, **body).code == "claim_ended", action
    assert chat.get(claim["links"]["map"] + "?moderator=ada").code == "claim_ended"
    review = act(tool, claim, "decide", decision="authentic").document["review_id"]
    taken = chat.post(f"/v1/reviews/{review}/undo", {"reviewer": "ada", "reason": "x"})
    assert (taken.status, taken.code) == (404, "unknown_review")
    assert chat.post(f"/v1/checks/{other}/reviews", {"reviewer": "a", "decision": "authentic"}).code == "unknown_check"
    assert run("SELECT count(*) FROM susy.reviews") == [(1,)]


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("", {}, "moderator: Field required"),
    ("", {"moderator": ""}, "moderator"),
    ("", {"moderator": " \t\n"}, "names its moderator"),
    ("", {"moderator": "\u200b\u00a0\u2060"}, "names its moderator"),
    ("", {"moderator": "ada\x1b[31m"}, "control"),
    ("", {"moderator": "ada\u202eeda"}, "control"),
    ("", {"moderator": "a" * 201}, "200"),
    ("", {"moderator": "ada", "seconds": 0}, "seconds"),
    ("", {"moderator": "ada", "seconds": 86401}, "seconds"),
    ("", {"moderator": "ada", "filters": {"sauce": "x"}}, "sauce"),
    ("", {"moderator": "ada", "filters": {"source": 3}}, "source"),
    ("", {"moderator": "ada", "filters": {"since": "yesteryear"}}, "since"),
    ("", {"moderator": "ada", "filters": {"min_score": 1.5}}, "min_score"),
    ("", {"moderator": "ada", "filters": {"attributes": {"a": "\x00"}}}, ""),
    (f"/{uuid4()}/decide", {"moderator": "ada", "decision": "fake"}, "decision"),
    (f"/{uuid4()}/decide", {"moderator": "ada", "decision": "authentic", "more": 1}, "more"),
    (f"/{uuid4()}/skip", {"moderator": "ada", "reason": " "}, "says why"),
    (f"/{uuid4()}/skip", {"moderator": "ada"}, "reason"),
    ("/7/extend", {"moderator": "ada"}, "claim_id"),
]


def test_what_cannot_be_meant_is_refused_in_one_line_and_nothing_is_written(
    tool: Client, store: Store, run: Sql
) -> None:
    waiting(store, 1)
    for path, body, problem in WRONG:
        refused = tool.post(CLAIMS + path, body)
        assert (refused.status, refused.code) == (422, "invalid_message"), (path, body)
        assert problem in refused.document["detail"], (body, refused.document)
        assert refused.document["detail"].isprintable()
    unknown = tool.post(f"{CLAIMS}/{uuid4()}/decide", {"moderator": "ada", "decision": "authentic"})
    assert (unknown.status, unknown.code) == (409, "claim_ended")
    assert run("SELECT count(*) FROM susy.review_claims") == [(0,)]


NAMES = ["<script>alert(1)</script>", "'; DROP TABLE susy.reviews; --", "ada\\", "%s", "Zoë 🦉", "{{7*7}}"]


def test_names_and_notes_are_text(tool: Client, store: Store, run: Sql) -> None:
    for number, name in enumerate(NAMES):
        waiting(store, number)
        claim = claimed(tool, name)
        assert act(tool, claim, "decide", name, decision="authentic", note=name).status == 201
    assert run("SELECT reviewer, note FROM dashboard.reviews ORDER BY created_at") == [(name, name) for name in NAMES]
