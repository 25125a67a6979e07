from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from random import Random
from uuid import UUID, uuid4

import pytest

from schema.states import CheckState, Lane
from tests.support.databases import Sql
from tests.support.ledger import submission, submit_all, unchecked
from worker.errors import ErrorCode, PermanentError
from worker.store import Receipt, Store


def test_a_submission_becomes_a_queued_check(store: Store) -> None:
    receipt = store.submit(
        submission(external_id="upload-1", lane=Lane.BACKFILL, policy="strict", attributes={"country": "NL", "n": [1]})
    )
    assert receipt.created
    assert receipt.check_id.version == 7
    view = store.show(receipt.check_id)
    assert (view.state, view.attempts, view.lane, view.policy) == (CheckState.QUEUED, 0, Lane.BACKFILL, "strict")
    assert (view.source, view.external_id, view.uri) == ("avatars", "upload-1", "/images/1.jpg")
    assert view.attributes == {"country": "NL", "n": [1]}
    assert (view.error, view.scan, view.verdict, view.map_png) == (None, None, None, None)
    assert (view.dispatched_at, view.started_at, view.finished_at, view.worker) == (None, None, None, None)
    assert abs(view.created_at - datetime.now(UTC)) < timedelta(minutes=5)


def test_submitting_again_returns_the_check_that_exists(store: Store) -> None:
    first = store.submit(submission(external_id="upload-1"))
    again = store.submit(submission(external_id="upload-1", attributes={"second": True}))
    assert again.check_id == first.check_id
    assert (first.created, again.created) == (True, False)
    assert store.show(first.check_id).attributes == {}


def test_the_same_id_from_another_source_is_another_check(store: Store) -> None:
    first = store.submit(submission(external_id="upload-1"))
    assert store.submit(submission(external_id="upload-1", source="chat")).check_id != first.check_id


def test_without_an_external_id_every_submission_is_a_check_of_its_own(store: Store) -> None:
    first, second = store.submit(submission()), store.submit(submission())
    assert first.check_id != second.check_id
    assert store.show(first.check_id).external_id == str(first.check_id)


def test_the_same_id_for_another_image_is_a_conflict_that_names_both(store: Store) -> None:
    store.submit(submission(external_id="upload-1"))
    with pytest.raises(PermanentError) as caught:
        store.submit(submission(external_id="upload-1", uri="/images/2.jpg"))
    assert caught.value.code is ErrorCode.CONFLICT
    assert "/images/1.jpg" in caught.value.message
    assert "/images/2.jpg" in caught.value.message


def test_many_submissions_get_receipts_in_their_order(store: Store) -> None:
    known = store.submit(submission(external_id="b"))
    given = [submission(external_id=name) for name in ("c", "b", "a", "c")] + [submission()]
    receipts = submit_all(store, given)
    assert [receipt.created for receipt in receipts] == [True, False, True, False, True]
    assert receipts[1].check_id == known.check_id
    assert receipts[0].check_id == receipts[3].check_id
    assert len({receipt.check_id for receipt in receipts}) == 4
    assert [store.show(receipt.check_id).external_id for receipt in receipts[:4]] == ["c", "b", "a", "c"]


def test_a_conflict_among_many_is_returned_in_its_place_and_the_others_are_accepted(store: Store, run: Sql) -> None:
    given = [submission(external_id="a"), submission(external_id="a", uri="/other.jpg"), submission(external_id="b")]
    first, conflict, last = store.submit_each(given)
    assert isinstance(first, Receipt)
    assert isinstance(last, Receipt)
    assert isinstance(conflict, PermanentError)
    assert conflict.code is ErrorCode.CONFLICT
    assert run("SELECT id FROM susy.checks ORDER BY external_id") == [(first.check_id,), (last.check_id,)]


def test_what_postgres_cannot_store_among_many_accepts_none(store: Store, run: Sql) -> None:
    with pytest.raises(PermanentError):
        store.submit_each([submission(), unchecked(attributes={"share": float("nan")})])
    assert run("SELECT count(*) FROM susy.checks") == [(0,)]


def test_submitting_nothing_is_nothing(store: Store) -> None:
    assert store.submit_each([]) == []
    store.mark_dispatched([])


def test_hooks_that_submit_the_same_uploads_in_any_order_create_each_once(store: Store) -> None:
    names = [f"upload-{n}" for n in range(2000)]
    together = threading.Barrier(4)

    def hook(order: int) -> list[UUID]:
        together.wait()
        receipts = submit_all(store, (submission(external_id=name) for name in names[::order]))
        return [receipt.check_id for receipt in receipts if receipt.created]

    with ThreadPoolExecutor(4) as hooks:
        created = [check_id for each in hooks.map(hook, (1, -1, 1, -1)) for check_id in each]
    assert len(created) == len(set(created)) == len(names)


@pytest.mark.parametrize(
    "attributes",
    [{"share": float("nan")}, {"share": float("inf")}, {"name": "\ud800"}],
    ids=["nan", "inf", "surrogate"],
)
def test_attributes_that_are_no_json_are_refused_as_such(store: Store, attributes: dict[str, object]) -> None:
    with pytest.raises(PermanentError) as caught:
        store.submit(unchecked(attributes=attributes))
    assert caught.value.code is ErrorCode.INVALID_MESSAGE


def test_a_key_too_long_for_the_index_is_refused_for_good(store: Store) -> None:
    name = "".join(chr(0x1F000 + n) for n in range(500))
    with pytest.raises(PermanentError) as caught:
        store.submit(submission(source=name[:200], external_id=name))
    assert caught.value.code is ErrorCode.INVALID_MESSAGE


def test_a_dispatched_check_says_when(store: Store) -> None:
    first, second = store.submit(submission()).check_id, store.submit(submission()).check_id
    store.mark_dispatched([first, uuid4()])
    assert store.show(first).dispatched_at is not None
    assert store.show(second).dispatched_at is None


def test_a_check_that_was_claimed_meanwhile_needs_no_mark(store: Store) -> None:
    check_id = store.submit(submission()).check_id
    store.claim(check_id, worker="worker-1", lease=60, max_attempts=5)
    store.mark_dispatched([check_id])
    assert store.show(check_id).dispatched_at is None


def test_an_unknown_check_is_named(store: Store) -> None:
    check_id = uuid4()
    with pytest.raises(PermanentError, match=str(check_id)) as caught:
        store.show(check_id)
    assert caught.value.code is ErrorCode.UNKNOWN_CHECK


@pytest.mark.parametrize("body", ["a\x00b", b"\xff\x00\xfe", "\ud800", "é" * 4000, ""])
def test_whatever_a_message_holds_its_rejection_is_kept(store: Store, run: Sql, body: str | bytes) -> None:
    store.reject_message("susy.check", body, code=ErrorCode.INVALID_MESSAGE, message="no check_id\x00 in it")
    [(task, kept, code, message)] = run("SELECT task, body, code, message FROM susy.rejected_messages")
    assert (task, code) == ("susy.check", "invalid_message")
    assert message == "no check_id\N{REPLACEMENT CHARACTER} in it"
    assert len(kept.encode()) <= 4096
    assert bool(kept) == bool(body)


def test_a_key_that_is_too_long_for_the_index_is_refused_and_the_longest_ascii_one_is_accepted(store: Store) -> None:
    assert store.submit(submission(source="s" * 200, external_id="e" * 500, uri="/" + "u" * 4095)).created
    random = Random(0)  # what compresses badly, four bytes per character
    source, external_id = ("".join(chr(random.randrange(0x20000, 0x2A6DF)) for _ in range(n)) for n in (200, 500))
    with pytest.raises(PermanentError) as caught:
        store.submit(submission(source=source, external_id=external_id))
    assert caught.value.code is ErrorCode.INVALID_MESSAGE
    assert "index row size" in caught.value.message
    assert external_id[:10] not in caught.value.message


def test_a_submission_names_an_endpoint_that_is_registered_for_its_source(store: Store, run: Sql) -> None:
    run(
        "INSERT INTO susy.endpoints (name, url, sources) VALUES ('any', 'https://a.example/', '{}'),"
        " ('chat', 'https://b.example/', '{chat}')"
    )
    outcomes = store.submit_each(
        [
            submission(endpoint="any"),
            submission(endpoint="chat", source="chat"),
            submission(endpoint="chat"),
            submission(endpoint="other"),
            submission(),
        ]
    )
    refused = [outcome.code if isinstance(outcome, PermanentError) else None for outcome in outcomes]
    assert refused == [None, None, ErrorCode.UNKNOWN_ENDPOINT, ErrorCode.UNKNOWN_ENDPOINT, None]
    assert "'other'" in str(outcomes[3])
    assert run("SELECT source, endpoint FROM susy.checks ORDER BY source, endpoint") == [
        ("avatars", "any"), ("avatars", None), ("chat", "chat"),
    ]  # fmt: skip
