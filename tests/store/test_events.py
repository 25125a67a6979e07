"""Every way in which a check ends, or is decided about, leaves one event; events are read in a safe order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from typing import Any
from uuid import UUID

import psycopg
import pytest

from schema.states import CheckState, Decision, EventType
from tests.support.databases import Sql
from tests.support.ledger import SCAN, VERDICT, claimed, done, examination, submission
from worker.errors import ErrorCode, PermanentError
from worker.store import CheckFilter, RecordOutcome, Store, queries
from worker.store.events import number_events

EXPIRE = "UPDATE susy.checks SET lease_until = now() - interval '1 s' WHERE state = 'running'"


def record(store: Store, run: Sql) -> UUID:
    return done(store).check_id


def record_from_a_stored_scan(store: Store, run: Sql) -> UUID:
    first = done(store)
    stored = store.find_scan(SCAN.content_sha256, SCAN.model, SCAN.tiling)
    assert stored is not None
    run("DELETE FROM susy.events")
    claim = claimed(store)
    assert store.record(claim, examination(scan_id=stored.id, map_png=None)) is RecordOutcome.RECORDED
    assert claim.check_id != first.check_id
    return claim.check_id


def promote_a_shadow_verdict(store: Store, run: Sql) -> UUID:
    claim = claimed(store)
    assert store.record(claim, examination()) is RecordOutcome.RECORDED
    # As a shadow run of the same policy version leaves it.
    run("UPDATE susy.verdicts SET mode = 'shadow', decision = 'authentic'")
    run(
        "UPDATE susy.checks SET state = 'running', finished_at = NULL, lease_token = gen_random_uuid(),"
        " lease_until = now() + interval '1 min'"
    )
    run("DELETE FROM susy.events")
    [(token,)] = run("SELECT lease_token FROM susy.checks")
    assert store.record(replace(claim, lease_token=token), examination()) is RecordOutcome.RECORDED
    return claim.check_id


def fail_for_good(store: Store, run: Sql) -> UUID:
    claim = claimed(store)
    assert store.fail(claim, code=ErrorCode.CORRUPT, message="a JPEG without a header", retry_in=None)
    return claim.check_id


def lose_the_last_lease(store: Store, run: Sql) -> UUID:
    claim = claimed(store)
    run(EXPIRE)
    assert store.reclaim_expired(max_attempts=1, limit=10).quarantined == 1
    return claim.check_id


def exhaust_while_queued(store: Store, run: Sql) -> UUID:
    claim = claimed(store)
    store.fail(claim, code=ErrorCode.UNREADABLE, message="a disk that does not answer", retry_in=60)
    assert store.reclaim_expired(max_attempts=1, limit=10).quarantined == 1
    return claim.check_id


def cancel_one(store: Store, run: Sql) -> UUID:
    check_id = store.submit(submission()).check_id
    assert store.cancel(CheckFilter(check_ids=[check_id])) == 1
    return check_id


def expire(store: Store, run: Sql) -> UUID:
    check_id = store.submit(submission(expires_at="2020-01-01T00:00:00Z")).check_id
    assert store.expire(limit=10) == 1
    return check_id


def end_by_hand(store: Store, run: Sql) -> UUID:
    check_id = store.submit(submission()).check_id
    run("UPDATE susy.checks SET state = 'cancelled', finished_at = now()")
    return check_id


def review(store: Store, run: Sql) -> UUID:
    claim = done(store)
    number_events(store._database)
    run("DELETE FROM susy.events")
    store.add_review(claim.check_id, reviewer="ada", decision=Decision.AUTHENTIC, note="a poster")
    return claim.check_id


PATHS: list[tuple[Callable[[Store, Sql], UUID], EventType, CheckState]] = [
    (record, EventType.VERDICT_CREATED, CheckState.DONE),
    (record_from_a_stored_scan, EventType.VERDICT_CREATED, CheckState.DONE),
    (promote_a_shadow_verdict, EventType.VERDICT_CREATED, CheckState.DONE),
    (fail_for_good, EventType.CHECK_QUARANTINED, CheckState.QUARANTINED),
    (lose_the_last_lease, EventType.CHECK_QUARANTINED, CheckState.QUARANTINED),
    (exhaust_while_queued, EventType.CHECK_QUARANTINED, CheckState.QUARANTINED),
    (cancel_one, EventType.CHECK_CANCELLED, CheckState.CANCELLED),
    (expire, EventType.CHECK_EXPIRED, CheckState.EXPIRED),
    (end_by_hand, EventType.CHECK_CANCELLED, CheckState.CANCELLED),
    (review, EventType.REVIEW_CREATED, CheckState.DONE),
]


@pytest.mark.parametrize(("end", "event_type", "state"), PATHS, ids=[path[0].__name__ for path in PATHS])
def test_a_check_that_ends_leaves_one_event_of_its_own(
    store: Store, run: Sql, end: Callable[[Store, Sql], UUID], event_type: EventType, state: CheckState
) -> None:
    check_id = end(store, run)
    [event] = store.events_after(0, limit=10)
    assert (event.check_id, event.type, event.data["state"]) == (check_id, event_type, state)
    assert event.data["check_id"] == str(check_id)
    assert (event.data["decision"] is not None) == (state is CheckState.DONE)
    assert (event.data["error"] is not None) == (state is CheckState.QUARANTINED)
    assert (event.data["review"] is not None) == (event_type is EventType.REVIEW_CREATED)


def test_many_cancelled_checks_have_an_event_each(store: Store) -> None:
    submitted = {store.submit(submission()).check_id for _ in range(25)}
    assert store.cancel(CheckFilter(source="avatars")) == 25
    assert {event.check_id for event in store.events_after(0, limit=100)} == submitted


def test_a_check_that_only_waits_runs_or_is_retried_has_no_event(store: Store) -> None:
    store.submit(submission())
    claim = claimed(store)
    store.renew([claim], 60)
    store.fail(claim, code=ErrorCode.UNREADABLE, message="a disk that does not answer", retry_in=0.0)
    again = store.claim(claim.check_id, worker="worker-2", lease=60, max_attempts=5)
    assert again is not None
    store.release(again)
    assert store.events_after(0, limit=10) == ()


def test_a_check_that_is_requeued_has_an_event_for_each_end_and_the_first_one_stays_as_it_was(store: Store) -> None:
    claim = claimed(store)
    store.fail(claim, code=ErrorCode.CORRUPT, message="a JPEG without a header", retry_in=None)
    [first] = store.events_after(0, limit=10)
    assert store.requeue(CheckState.QUARANTINED, CheckFilter()) == 1
    again = store.claim(claim.check_id, worker="worker-2", lease=60, max_attempts=5)
    assert again is not None
    store.record(again, examination())
    before, second = store.events_after(0, limit=10)
    assert (before.id, before.data) == (first.id, first.data)
    assert first.data["error"] == {"code": "corrupt", "message": "a JPEG without a header"}
    assert (second.type, second.data["error"]) == (EventType.VERDICT_CREATED, None)
    assert (before.message_id, before.id < second.id) == (f"evt_{claim.check_id.hex}_{first.id}", True)


def test_events_that_get_their_positions_late_describe_their_own_end(store: Store) -> None:
    claim = claimed(store)
    store.fail(claim, code=ErrorCode.CORRUPT, message="a JPEG without a header", retry_in=None)
    store.requeue(CheckState.QUARANTINED, CheckFilter())
    again = store.claim(claim.check_id, worker="worker-2", lease=60, max_attempts=5)
    assert again is not None
    store.record(again, examination())
    first, second = store.events_after(0, limit=10)
    assert (first.data["state"], first.data["decision"]) == ("quarantined", None)
    assert (second.data["state"], second.data["decision"]) == ("done", "synthetic")


def test_the_data_is_that_of_the_verdict(store: Store) -> None:
    claim = done(store, external_id="upload-1", attributes={"country": "NL"})
    [event] = store.events_after(0, limit=10)
    expected = {
        "check_id": str(claim.check_id),
        "sequence": event.id,
        "source": "avatars",
        "external_id": "upload-1",
        "lane": "live",
        "decision": "synthetic",
        "score": VERDICT.score,
        "class_scores": dict(VERDICT.class_scores),
        "generator": "alpha",
        "reasons": ["above_synthetic_at", "synthetic_region"],
        "needs_review": True,
        "regions": [asdict(region) for region in VERDICT.regions],
        "policy": {"name": "default", "version": "1a2b3c"},
        "content_sha256": SCAN.content_sha256,
        "has_map": True,
        "review": None,
        "attributes": {"country": "NL"},
    }
    assert {name: event.data[name] for name in expected} == expected


def test_a_verdict_that_is_not_recorded_leaves_no_event(store: Store, run: Sql) -> None:
    claim = claimed(store)
    run(EXPIRE)
    assert store.reclaim_expired(max_attempts=5, limit=10).requeued == 1
    assert store.record(claim, examination()) is RecordOutcome.LEASE_LOST
    assert store.events_after(0, limit=10) == ()


def test_a_verdict_whose_event_cannot_be_written_is_not_recorded(store: Store, run: Sql) -> None:
    claim = claimed(store)
    run("ALTER TABLE susy.events ADD CONSTRAINT none CHECK (false)")
    with pytest.raises(PermanentError):
        store.record(claim, examination())
    assert store.show(claim.check_id).state is CheckState.RUNNING
    assert run("SELECT count(*) FROM susy.verdicts") == [(0,)]


def test_events_are_read_in_pages_and_by_source(store: Store) -> None:
    ends = [done(store, source=source, content=f"{i:064x}").check_id for i, source in enumerate("ababa")]
    first = store.events_after(0, limit=2)
    rest = store.events_after(first[-1].position, limit=10)
    assert [event.check_id for event in (*first, *rest)] == ends
    assert [event.check_id for event in store.events_after(0, limit=10, sources=["b"])] == [ends[1], ends[3]]
    assert store.events_after(0, limit=10, sources=[]) == ()
    assert store.events_after(rest[-1].position, limit=10) == ()


def test_an_event_that_commits_late_gets_a_later_position(store: Store, database_url: str) -> None:
    slow, quick = (store.submit(submission()).check_id for _ in range(2))
    end = "UPDATE susy.checks SET state = 'cancelled', finished_at = now() WHERE id = %s"
    with psycopg.connect(database_url) as connection:
        connection.execute(end, (slow,))  # its event has the smaller id, and is not committed yet
        store.cancel(CheckFilter(check_ids=[quick]))
        [first] = store.events_after(0, limit=10)
        assert first.check_id == quick
    [second] = store.events_after(first.position, limit=10)
    assert (second.check_id, second.id < first.id) == (slow, True)


def test_an_event_that_commits_after_many_others_is_found_by_the_reconciler(store: Store, database_url: str) -> None:
    slow, *quick = (store.submit(submission()).check_id for _ in range(4))
    end = "UPDATE susy.checks SET state = 'cancelled', finished_at = now() WHERE id = %s"
    with psycopg.connect(database_url) as connection:
        connection.execute(end, (slow,))
        for check_id in quick:
            store.cancel(CheckFilter(check_ids=[check_id]))
        assert len(store.events_after(0, limit=10)) == 3
    assert number_events(store._database, back=2) == 0
    assert store.number_events() == 1
    assert store.events_after(0, limit=10)[-1].check_id == slow


def test_looking_for_new_events_reads_no_index_entries_of_old_ones(store: Store, run: Sql) -> None:
    """While a dashboard holds a snapshot, vacuum cannot remove them."""
    done(store)
    store.events_after(0, limit=1)
    statement = queries.STATEMENTS["EVENTS_WITHOUT_POSITION"].replace("%(back)s", "10000")
    [(plan,)] = run(f"EXPLAIN (FORMAT JSON) {statement}")
    conditions = {node["Index Name"]: node.get("Index Cond") for node in nodes(plan[0]["Plan"]) if "Index Name" in node}
    assert str(conditions["ix_events_without_position"]).startswith("(id > ")


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A plan's nodes, itself first."""
    yield plan
    for below in plan.get("Plans", []):
        yield from nodes(below)


def test_positions_are_given_by_one_session_at_a_time(store: Store, database_url: str) -> None:
    done(store)
    with psycopg.connect(database_url) as connection:
        connection.execute("SELECT pg_advisory_xact_lock(x'73757379'::int, 3)")
        assert store.events_after(0, limit=10) == ()
    assert len(store.events_after(0, limit=10)) == 1


def test_positions_of_deleted_events_are_not_given_again(store: Store, run: Sql) -> None:
    done(store)
    [first] = store.events_after(0, limit=10)
    run("DELETE FROM susy.events")
    done(store)
    [second] = store.events_after(0, limit=10)
    assert second.position > first.position


def test_an_earlier_review_is_part_of_the_event_of_a_later_end(store: Store) -> None:
    claim = claimed(store)
    store.fail(claim, code=ErrorCode.CORRUPT, message="broken", retry_in=None)
    store.add_review(claim.check_id, reviewer="ada", decision=Decision.AUTHENTIC)
    store.requeue(CheckState.QUARANTINED, CheckFilter([claim.check_id]))
    again = store.claim(claim.check_id, worker="worker-1", lease=60, max_attempts=5)
    assert again is not None
    store.record(again, examination())
    event = store.events_after(0, limit=10)[-1]
    assert event.data["state"] == "done"
    assert event.data["review"]["decision"] == "authentic"
