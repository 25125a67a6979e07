"""Second reviews, golden items, and how reviewers compare: nobody learns what somebody else decided."""

from __future__ import annotations

import random
from typing import Any
from uuid import UUID

import krippendorff
import numpy as np
import psycopg
import pytest

from schema.states import Decision
from tests.support.databases import Sql
from tests.support.lazily import ImportedWhenUsed
from tests.support.ledger import calm, claimed, done
from tests.support.moderating import Moderators
from worker.errors import ErrorCode, PermanentError
from worker.lab.intervals import exact_interval
from worker.store import Store
from worker.store.reviews import ReviewFilter

stats = ImportedWhenUsed("scipy.stats")
metrics = ImportedWhenUsed("sklearn.metrics")
WORDS = ("authentic", "synthetic", "inconclusive")


def configure(store: Store, **rates: float) -> None:
    revision = store.policies.revision()
    number = 1 if revision is None else revision.revision + 1
    store.policies.change(number, {"reviews": rates}, change="rates", changed_by="test", reason="test")


def waiting(store: Store, number: int) -> UUID:
    return done(store, content=f"{number:064x}").check_id


def decided(moderators: Moderators, moderator: str, decision: str) -> UUID:
    """Let a moderator decide about the next check; the check."""
    claim = moderators.claim(moderator)
    assert claim is not None
    moderators.review(claim, moderator, decision)
    check_id: UUID = claim["check_id"]
    return check_id


def test_a_second_person_decides_without_learning_of_the_first(store: Store, run: Sql, moderators: Moderators) -> None:
    check_id = waiting(store, 1)
    configure(store, second_rate=1)
    first = moderators.claim("ada")
    assert first is not None
    moderators.review(first, "ada")
    assert moderators.claim("ada") is None  # never to the person who gave the first
    second = moderators.claim("ben")
    assert second is not None
    unlike = {"claim_id", "claimed_until"}
    assert {key: second[key] for key in second.keys() - unlike} == {key: first[key] for key in first.keys() - unlike}
    assert run("SELECT count(*) FROM dashboard.review_queue") == [(0,)]
    moderators.review(second, "ben")
    assert moderators.claim("eve") is None
    assert run("SELECT check_id, first_reviewer, second_reviewer FROM dashboard.double_reviews") == [
        (check_id, "ada", "ben")
    ]


def test_where_two_disagree_a_third_decides(store: Store, run: Sql, moderators: Moderators) -> None:
    check_id = waiting(store, 1)
    configure(store, second_rate=1)
    decided(moderators, "ada", "authentic")
    decided(moderators, "ben", "synthetic")
    assert moderators.claim("ada") is moderators.claim("ben") is None
    assert decided(moderators, "eve", "authentic") == check_id
    assert moderators.claim("joe") is None
    assert run("SELECT final_decision FROM dashboard.checks") == [("authentic",)]
    assert run("SELECT kind FROM dashboard.review_claims ORDER BY claimed_at") == [("first",), ("second",), ("third",)]
    # Only disagreements have a third answer, so it does not count as agreement.
    assert [each.checks for each in store.reviews.agreement()] == [1, 1]


def test_who_knows_the_image_from_another_check_is_no_second_person(store: Store, moderators: Moderators) -> None:
    configure(store, second_rate=1)
    done(store)
    decided(moderators, "ada", "authentic")
    store.add_review(done(store).check_id, reviewer="ben", decision=Decision.AUTHENTIC)  # the same content
    assert moderators.claim("ben") is moderators.claim("ada") is None
    assert moderators.claim("eve") is not None


def test_what_was_decided_before_about_the_image_is_told_only_where_no_second_review_follows(
    store: Store, moderators: Moderators
) -> None:
    store.add_review(done(store).check_id, reviewer="ada", decision=Decision.AUTHENTIC)
    done(store)
    claim = moderators.claim("ben")
    assert claim is not None
    assert claim["reviewed_before"] == "authentic"
    moderators.call("SELECT dashboard.release_claim(%s, 'ben')", claim["claim_id"])
    configure(store, second_rate=1)
    claim = moderators.claim("ben")
    assert claim is not None
    assert claim["reviewed_before"] is None


def test_the_share_of_second_reviews_is_that_of_the_contents_and_bulk_reviews_have_none(store: Store, run: Sql) -> None:
    configure(store, second_rate=0.25)
    [(drawn, again)] = run(
        "SELECT count(*) FILTER (WHERE susy.draws('second:' || i, 0.25)),"
        " count(*) FILTER (WHERE susy.draws('second:' || i, 0.25) AND susy.draws('second:' || i, 0.5))"
        " FROM generate_series(1, 4000) AS i"
    )
    assert 860 < drawn == again < 1140  # five standard deviations
    configure(store, second_rate=1)
    waiting(store, 1)
    store.reviews.add_batch(ReviewFilter(source="avatars"), reviewer="ada", decision=Decision.AUTHENTIC)
    assert run("SELECT count(*) FROM susy.review_items") == [(0,)]


def test_undoing_the_first_review_asks_for_a_first_one_again(store: Store, run: Sql, moderators: Moderators) -> None:
    waiting(store, 1)
    configure(store, second_rate=1)
    claim = moderators.claim("ada")
    assert claim is not None
    review_id = moderators.review(claim, "ada")
    assert run("SELECT kind FROM susy.review_items") == [("second",)]
    store.reviews.undo(review_id, by="ada", reason="x")
    assert run("SELECT kind FROM susy.review_items") == [("first",)]


DOUBLE = """
WITH answers AS (
    SELECT * FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::text[], %s::text[])
        AS a (check_id, first, first_decision, second, second_decision)
), firsts AS (
    INSERT INTO susy.reviews (id, check_id, reviewer, decision, created_at)
    SELECT gen_random_uuid(), check_id, first, first_decision, now() - interval '1 minute' FROM answers
), seconds AS (
    INSERT INTO susy.reviews (id, check_id, reviewer, decision)
    SELECT gen_random_uuid(), check_id, second, second_decision FROM answers RETURNING id, check_id, reviewer
)
INSERT INTO susy.review_claims (claim_id, check_id, moderator, kind, action, review_id)
SELECT gen_random_uuid(), check_id, reviewer, 'second', 'decided', id FROM seconds
"""
CHECKS = """
INSERT INTO susy.checks (id, source, external_id, uri, lane, state, finished_at, content_sha256)
SELECT gen_random_uuid(), CASE WHEN i %% 2 = 0 THEN 'chat' ELSE 'avatars' END, i::text, '/1.jpg', 'live', 'done', now(),
    repeat('a', 64)
FROM generate_series(1, %s) AS i RETURNING id
"""


@pytest.mark.parametrize("bias", [0.0, 0.5, 0.95])
def test_kappa_and_alpha_are_those_of_known_libraries(store: Store, run: Sql, bias: float) -> None:
    dice = random.Random(str(bias))
    people = ["ada", "ben", "eve", "joe", "mia"]
    checks = [row for (row,) in run(CHECKS, 300)]
    rows: list[tuple[Any, ...]] = []
    for check_id in checks:
        first, second = dice.sample(people, 2)
        one = dice.choices(WORDS, [6, 3, 1])[0]
        rows.append((check_id, first, one, second, one if dice.random() < bias else dice.choice(WORDS)))
    run(DOUBLE, *(list(column) for column in zip(*rows, strict=True)))
    whole, *pairs = store.reviews.agreement()
    table = np.full((len(people), len(checks)), np.nan)
    for column, (_, first, one, second, other) in enumerate(rows):
        table[people.index(first), column] = WORDS.index(one)
        table[people.index(second), column] = WORDS.index(other)
    alpha = krippendorff.alpha(reliability_data=table, level_of_measurement="nominal")
    assert whole.krippendorffs_alpha == pytest.approx(alpha)
    assert (whole.reviewers, whole.checks) == (5, 300)
    assert whole.agreement == pytest.approx(np.mean([one == other for _, _, one, _, other in rows]))
    assert len(pairs) == 10
    for pair in pairs:
        both = [
            (one, other) if first == pair.reviewer else (other, one)
            for _, first, one, second, other in rows
            if {first, second} == {pair.reviewer, pair.other_reviewer}
        ]
        assert pair.checks == len(both)
        assert pair.cohens_kappa == pytest.approx(metrics.cohen_kappa_score(*zip(*both, strict=True)))
    assert store.reviews.agreement(source="chat")[0].checks == 150
    [(later,)] = run("SELECT now() + interval '1 hour'")
    assert store.reviews.agreement(since=later) == []


def test_agreement_beyond_chance_is_undefined_where_everybody_says_the_same(store: Store, run: Sql) -> None:
    [(check_id,)] = run(CHECKS, 1)
    run(DOUBLE, [check_id], ["ada"], ["authentic"], ["ben"], ["authentic"])
    whole, pair = store.reviews.agreement()
    assert (whole.krippendorffs_alpha, pair.cohens_kappa, whole.agreement) == (None, None, 1.0)


def test_a_golden_item_is_given_like_any_other_and_decides_nothing(
    store: Store, run: Sql, moderators: Moderators
) -> None:
    golden, normal = waiting(store, 1), waiting(store, 2)
    store.add_review(golden, reviewer="expert", decision=Decision.SYNTHETIC)
    assert store.reviews.add_golden(golden, by="grace", reason="a known generator") is Decision.SYNTHETIC
    configure(store, golden_rate=1)
    first = moderators.claim("ada")
    assert first is not None
    assert first["check_id"] == golden
    answer = moderators.review(first, "ada", "authentic")
    second = moderators.claim("ada")
    assert second is not None
    assert second["check_id"] == normal  # an item is given to everybody once
    assert first.keys() == second.keys()
    assert {key: first[key] for key in ("why", "decision", "reviewed_before")} == {
        key: second[key] for key in ("why", "decision", "reviewed_before")
    }
    assert isinstance(answer, type(moderators.review(second, "ada")))
    assert run("SELECT final_decision FROM dashboard.checks WHERE id = %s", golden) == [("synthetic",)]
    assert run("SELECT count(*) FROM dashboard.reviews WHERE check_id = %s", golden) == [(1,)]
    [(events,)] = run("SELECT count(*) FROM susy.events WHERE check_id = %s AND review_id IS NOT NULL", golden)
    assert events == 1
    [accuracy] = store.reviews.accuracy()
    assert (accuracy.reviewer, accuracy.answers, accuracy.correct) == ("ada", 1, 0)


def test_an_answer_to_a_golden_item_is_undone_like_a_review(store: Store, run: Sql, moderators: Moderators) -> None:
    golden = waiting(store, 1)
    waiting(store, 2)
    store.add_review(golden, reviewer="expert", decision=Decision.SYNTHETIC)
    store.reviews.add_golden(golden, by="grace", reason="x")
    configure(store, golden_rate=1)
    claim = moderators.claim("ada")
    assert claim is not None
    answer = moderators.review(claim, "ada", "authentic")
    undo = "SELECT dashboard.undo_review(%s, %s, 'a slip')"
    with pytest.raises(psycopg.Error):
        moderators.call(undo, answer, "ben")
    moderators.call(undo, answer, "ada")
    with pytest.raises(psycopg.Error, match="undone before"):
        moderators.call(undo, answer, "ada")
    assert store.reviews.accuracy() == []
    again = moderators.claim("ada")
    assert again is not None
    moderators.review(again, "ada", "synthetic")
    assert [each.correct for each in store.reviews.accuracy()] == [1]
    assert [(each.answers, each.correct) for each in store.reviews.golden_items()] == [(1, 1)]


def test_golden_items_hide_among_others_only(store: Store, moderators: Moderators) -> None:
    golden = waiting(store, 1)
    store.add_review(golden, reviewer="expert", decision=Decision.SYNTHETIC)
    store.reviews.add_golden(golden, by="grace", reason="x")
    configure(store, golden_rate=1)
    assert moderators.claim("ada") is None  # an empty queue stays empty
    waiting(store, 2)
    assert all((claim := moderators.claim(name)) and claim["check_id"] == golden for name in ("ada", "ben"))
    claim = moderators.claim("expert")  # who gave the known answer is not asked for it
    assert claim is not None
    assert claim["check_id"] != golden


def test_a_check_that_would_be_recognized_is_refused_as_a_golden_item_and_not_given(
    store: Store, run: Sql, moderators: Moderators
) -> None:
    """All others that a moderator is given have a verdict that asks for a review."""
    unasked = done(store, verdict=calm(), content="d" * 64).check_id
    broken = claimed(store)
    store.fail(broken, code=ErrorCode.CORRUPT, message="broken", retry_in=None)
    for check_id in (unasked, broken.check_id):
        store.add_review(check_id, reviewer="expert", decision=Decision.SYNTHETIC)
        with pytest.raises(PermanentError, match="would be recognized"):
            store.reviews.add_golden(check_id, by="grace", reason="x")
    later = waiting(store, 1)  # a policy that decided again asks nobody about it
    store.add_review(later, reviewer="expert", decision=Decision.SYNTHETIC)
    store.reviews.add_golden(later, by="grace", reason="x")
    configure(store, golden_rate=1)
    usual = waiting(store, 2)
    run("UPDATE susy.verdicts SET needs_review = false WHERE check_id = %s", later)
    claim = moderators.claim("ada")
    assert claim is not None
    assert claim["check_id"] == usual


def test_a_golden_item_needs_a_review_and_is_removed_once(store: Store, run: Sql) -> None:
    check_id = waiting(store, 1)

    def code(call: Any, *arguments: Any) -> ErrorCode:
        with pytest.raises(PermanentError) as refused:
            call(*arguments, by="grace", reason="x")
        return refused.value.code

    assert code(store.reviews.add_golden, check_id) is ErrorCode.NOT_REVIEWED
    assert code(store.reviews.add_golden, UUID(int=7)) is ErrorCode.UNKNOWN_CHECK
    store.add_review(check_id, reviewer="ada", decision=Decision.AUTHENTIC)
    store.reviews.add_golden(check_id, by="grace", reason="x")
    assert code(store.reviews.add_golden, check_id) is ErrorCode.CONFLICT
    store.reviews.remove_golden(check_id, by="grace", reason="too easy")
    assert code(store.reviews.remove_golden, check_id) is ErrorCode.UNKNOWN_CHECK
    rows = run("SELECT action, reason FROM dashboard.audit_log WHERE kind = 'golden' ORDER BY at")
    assert rows == [("add as authentic", "x"), ("remove", "too easy")]


def test_the_interval_of_the_accuracy_is_wilsons_and_close_to_the_exact_one(store: Store, run: Sql) -> None:
    checks = [row for (row,) in run(CHECKS, 40)]
    for index, check_id in enumerate(checks):
        run(
            "INSERT INTO susy.golden_answers (id, check_id, moderator, decision, expected)"
            " VALUES (gen_random_uuid(), %s, %s, %s, 'synthetic')",
            check_id, "ada" if index < 30 else "ben", "synthetic" if index % 10 else "inconclusive",
        )  # fmt: skip
    for each in store.reviews.accuracy():
        wilson = stats.binomtest(each.correct, each.answers).proportion_ci(method="wilson")
        assert (each.accuracy_low, each.accuracy_high) == (pytest.approx(wilson.low), pytest.approx(wilson.high))
        exact = exact_interval(each.correct, each.answers)
        assert abs(each.accuracy_low - exact[0]) < 0.06
        assert (each.answers, each.correct, each.inconclusive) in ((30, 27, 3), (10, 9, 1))
