"""Reviews in bulk, and what is undone: earlier decisions count again, and nothing is ever changed."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from schema.states import CheckState, Decision
from tests.support.databases import Sql
from tests.support.ledger import VERDICT, calm, claimed, done, examination, submission
from tests.support.moderating import Moderators
from worker.errors import ErrorCode, PermanentError
from worker.store import Store, reviews
from worker.store.reviews import ReviewFilter

AVATARS = ReviewFilter(source="avatars")


def final(run: Sql) -> list[Any]:
    return [row for (row,) in run("SELECT final_decision FROM dashboard.checks ORDER BY id")]


def bulk(store: Store, where: ReviewFilter = AVATARS, decision: Decision = Decision.AUTHENTIC, **more: Any) -> UUID:
    return store.reviews.add_batch(where, reviewer="ada", decision=decision, **more)[0]


def quarantined(store: Store, **changes: Any) -> UUID:
    claim = claimed(store, **changes)
    store.fail(claim, code=ErrorCode.CORRUPT, message="broken", retry_in=None)
    return claim.check_id


def test_a_bulk_review_decides_what_matches_and_has_ended_and_is_undone_as_one(store: Store, run: Sql) -> None:
    done(store)
    quarantined(store)
    other = done(store, source="chat")
    store.submit(submission())
    counted = {(each.source, each.decision): each.checks for each in store.reviews.count(AVATARS)}
    assert counted == {("avatars", "synthetic"): 1, ("avatars", None): 1}
    batch = bulk(store, note="a campaign")
    assert final(run) == ["authentic", "authentic", "synthetic", None]
    assert run("SELECT count(DISTINCT batch_id), count(*) FROM dashboard.reviews") == [(1, 2)]
    assert run("SELECT id FROM dashboard.review_queue") == [(other.check_id,)]
    assert store.reviews.undo(batch, by="grace", reason="wrong filter").reviews == 2
    assert final(run) == ["synthetic", None, "synthetic", None]
    assert run("SELECT count(*) FROM dashboard.reviews WHERE undone_at IS NOT NULL") == [(2,)]
    assert run("SELECT count(*) FROM dashboard.review_queue") == [(2,)]
    assert run("SELECT count(*) FROM susy.verdicts WHERE reviewed_at IS NOT NULL") == [(0,)]
    log = run("SELECT actor, action, subject, reason FROM dashboard.audit_log ORDER BY at")
    assert log == [
        ("ada", "bulk authentic", "2 checks", "a campaign"),
        ("grace", "undo", f"review {batch}", "wrong filter"),
    ]
    with pytest.raises(PermanentError, match="undone before") as again:
        store.reviews.undo(batch, by="grace", reason="again")
    assert again.value.code is ErrorCode.CONFLICT


def test_reviews_of_single_checks_are_left_alone_unless_told_and_count_again(store: Store, run: Sql) -> None:
    check_id = done(store).check_id
    single = store.add_review(check_id, reviewer="ben", decision=Decision.INCONCLUSIVE)
    with pytest.raises(PermanentError, match="no check that has ended matches"):
        bulk(store)
    batch = bulk(store, replace(AVATARS, reviewed_too=True))
    assert final(run) == ["authentic"]
    store.reviews.undo(batch, by="ada", reason="x")
    assert final(run) == ["inconclusive"]
    store.reviews.undo(single, by="ada", reason="x")
    assert final(run) == ["synthetic"]
    assert run("SELECT review_decision FROM dashboard.checks") == [(None,)]


@pytest.mark.parametrize(
    ("where", "count"),
    [
        (ReviewFilter(decision=Decision.SYNTHETIC), 2), (ReviewFilter(decision=Decision.AUTHENTIC), 1),
        (ReviewFilter(policy="default"), 3), (ReviewFilter(generator="alpha"), 3), (ReviewFilter(min_score=0.5), 1),
        (ReviewFilter(max_score=0.5), 2), (ReviewFilter(state=CheckState.QUARANTINED), 1),
        (ReviewFilter(source="chat", min_score=0.5), 1), (ReviewFilter(source="chat'; --"), 0),
    ],
)  # fmt: skip
def test_filters_select(store: Store, where: ReviewFilter, count: int) -> None:
    done(store)
    done(store, source="chat", verdict=replace(VERDICT, score=0.9))
    done(store, verdict=replace(calm(), decision=Decision.AUTHENTIC))
    quarantined(store)
    assert sum(each.checks for each in store.reviews.count(where)) == count
    if count:
        assert store.reviews.add_batch(where, reviewer="a", decision=Decision.SYNTHETIC)[1] == count


def test_more_than_one_bulk_review_may_decide_are_refused_unless_a_part_is_taken(
    store: Store, run: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = [done(store).check_id for _ in range(3)]
    monkeypatch.setattr(reviews, "MAX_BATCH", 2)
    with pytest.raises(PermanentError, match="more than 2 checks match") as refused:
        bulk(store)
    assert refused.value.code is ErrorCode.TOO_MANY_CHECKS
    assert run("SELECT count(*) FROM susy.review_batches") == [(0,)]
    bulk(store, limit=2)
    assert {row for (row,) in run("SELECT check_id FROM dashboard.reviews")} == set(first[:2])


def test_an_undone_review_is_an_event_with_the_decision_that_counts_now(store: Store) -> None:
    check_id = done(store).check_id
    store.add_review(check_id, reviewer="ada", decision=Decision.AUTHENTIC)
    second = store.add_review(check_id, reviewer="ben", decision=Decision.SYNTHETIC)
    batch = bulk(store, replace(AVATARS, reviewed_too=True), Decision.INCONCLUSIVE)
    store.reviews.undo(batch, by="ada", reason="x")
    store.reviews.undo(second, by="ada", reason="x")
    store.number_events()
    events = store.events_after(0, limit=10)
    told = [(event.type.removeprefix("image."), (event.data["review"] or {}).get("decision")) for event in events]
    assert told == [
        ("verdict.created", None), ("review.created", "authentic"), ("review.created", "synthetic"),
        ("review.created", "inconclusive"), ("review.undone", "synthetic"), ("review.undone", "authentic"),
    ]  # fmt: skip


def test_nothing_that_says_who_decided_is_ever_changed(store: Store, run: Sql) -> None:
    done(store)
    store.reviews.undo(bulk(store), by="ada", reason="x")
    for table in ("reviews", "review_batches", "review_undos", "undone_reviews"):
        for statement in (f"DELETE FROM susy.{table}", f"TRUNCATE susy.{table} CASCADE"):
            with pytest.raises(psycopg.errors.RestrictViolation):
                run(statement)


def test_of_two_undos_at_once_one_is_told(store: Store, run: Sql) -> None:
    done(store)
    batch = bulk(store)
    together = threading.Barrier(4)

    def undo(_number: int) -> bool:
        together.wait()
        try:
            store.reviews.undo(batch, by="ada", reason="x")
        except PermanentError as error:
            if error.code is not ErrorCode.CONFLICT:
                raise
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(undo, range(4))) == [False, False, False, True]
    assert run("SELECT count(*) FROM susy.review_undos") == [(1,)]


def test_bulk_reviews_and_moderators_at_once_review_each_check_once(
    store: Store, run: Sql, moderators: Moderators
) -> None:
    for number in range(40):
        done(store, content=f"{number:064x}")
    together = threading.Barrier(3)

    def moderate(name: str) -> None:
        together.wait()
        for _ in range(20):
            claim = moderators.claim(name)
            if claim is None:
                return
            try:
                moderators.review(claim, name)
            except psycopg.Error as error:
                if error.sqlstate != "SY005":
                    raise

    def decide() -> None:
        together.wait()
        bulk(store)

    with ThreadPoolExecutor(3) as pool:
        for future in [pool.submit(moderate, "ben"), pool.submit(moderate, "eve"), pool.submit(decide)]:
            future.result()
    assert run("SELECT count(*), count(DISTINCT check_id) FROM susy.reviews") == [(40, 40)]
    assert run("SELECT count(*) FROM susy.review_items") == run("SELECT count(*) FROM susy.open_claims") == [(0,)]


def test_a_review_that_does_not_exist_is_named(store: Store) -> None:
    unknown = uuid4()
    with pytest.raises(PermanentError, match=str(unknown)) as refused:
        store.reviews.undo(unknown, by="ada", reason="x")
    assert refused.value.code is ErrorCode.UNKNOWN_REVIEW


def test_a_moderator_undoes_own_reviews_only(store: Store, run: Sql, moderators: Moderators) -> None:
    done(store)
    claim = moderators.claim("ada")
    assert claim is not None
    review_id = moderators.review(claim, "ada")
    undo = "SELECT dashboard.undo_review(%s, %s, %s)"
    for reviewer, reason in (("ben", "x"), ("ada", " "), ("", "x")):
        with pytest.raises(psycopg.Error):
            moderators.call(undo, review_id, reviewer, reason)
    moderators.call(undo, review_id, "ada", "a slip")
    assert final(run) == ["synthetic"]
    again = moderators.claim("ada")
    assert again is not None
    assert again["check_id"] == claim["check_id"]


def test_a_review_outlasts_a_second_examination_and_its_undo_shows_the_new_verdict(store: Store, run: Sql) -> None:
    check_id = quarantined(store)
    review_id = store.add_review(check_id, reviewer="ada", decision=Decision.AUTHENTIC)
    run("UPDATE susy.checks SET state = 'queued', finished_at = NULL, next_attempt_at = now()")
    claim = store.claim(check_id, worker="w", lease=60, max_attempts=9)
    assert claim is not None
    with pytest.raises(PermanentError) as refused:
        store.add_review(check_id, reviewer="ada", decision=Decision.AUTHENTIC)
    assert refused.value.code is ErrorCode.CHECK_NOT_ENDED
    store.record(claim, examination())
    assert final(run) == ["authentic"]
    assert run("SELECT count(*) FROM dashboard.review_queue") == [(0,)]
    store.reviews.undo(review_id, by="ada", reason="x")
    assert final(run) == ["synthetic"]
    assert run("SELECT id FROM dashboard.review_queue") == [(check_id,)]
