"""Events into the ledger: duplicated, late, half of them bad."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable

import pytest

from tests.hooks.payloads import message, s3, s3_record, upload
from tests.support.databases import Sql
from worker.errors import ErrorCode
from worker.hooks.accept import Outcome, accept
from worker.hooks.events import Event, Ignored, Skipped, Upload
from worker.hooks.mapping import HooksFile
from worker.hooks.senders import s3 as s3_sender
from worker.store import Store

Accept = Callable[..., Outcome]


@pytest.fixture
def take(hooks: HooksFile, store: Store) -> Accept:
    return lambda *events, **options: accept(events, hooks, store, None, **options)


def test_an_upload_becomes_a_check_once(take: Accept, run: Sql) -> None:
    event = upload("s3://uploads/avatars/a b.png", etag="e1", size=3, metadata={"user": "u1"})
    first, second = take(event), take(event)
    assert (len(first.accepted), len(first.repeated)) == (1, 0)
    assert (second.accepted, second.repeated) == ([], first.accepted)
    assert run("SELECT source, uri, external_id, lane, attributes FROM susy.checks") == [
        (
            "avatars",
            "s3://uploads/avatars/a b.png",
            "s3://uploads/avatars/a%20b.png#etag=e1",
            "live",
            {"user": "u1"},
        )
    ]


def test_a_new_version_is_a_new_check_and_a_repeat_is_none(take: Accept) -> None:
    versions = [upload("s3://uploads/a", version_id=name, etag="e1", sequencer=f"0{n}") for n, name in enumerate("xyx")]
    outcome = take(*versions)
    assert (len(outcome.accepted), len(outcome.repeated)) == (2, 1)
    contents = [upload("s3://uploads/b", etag=etag) for etag in ("e1", "e2", "e1")]
    outcome = take(*contents)
    assert (len(outcome.accepted), len(outcome.repeated)) == (2, 1)


def test_events_in_any_order_and_number_lead_to_one_check_of_the_latest_content(
    take: Accept, external_ids: Callable[[], list[str]]
) -> None:
    events = [upload("s3://uploads/a", etag=f"e{n}", sequencer=f"0055AED6DCD9028{n:02X}") for n in range(20)]
    latest = events[-1]
    take(latest)
    delivered = events * 3
    random.Random(0).shuffle(delivered)
    for start in range(0, len(delivered), 7):
        outcome = take(*delivered[start : start + 7])
        assert outcome.accepted == []
        assert set(outcome.ignored) <= {Ignored.SUPERSEDED}
    assert external_ids() == ["s3://uploads/a#etag=e19"]


def test_of_one_message_only_the_latest_event_of_a_key_counts(
    take: Accept, external_ids: Callable[[], list[str]]
) -> None:
    outcome = take(
        upload("s3://uploads/a", etag="new", sequencer="00FF"),
        upload("s3://uploads/a", etag="old", sequencer="00FE99"),
        upload("s3://uploads/b", etag="other", sequencer="0001"),
    )
    assert outcome.ignored == {Ignored.SUPERSEDED: 1}
    assert sorted(external_ids()) == ["s3://uploads/a#etag=new", "s3://uploads/b#etag=other"]


def test_a_late_event_of_a_version_is_not_superseded(take: Accept) -> None:
    take(upload("s3://uploads/a", version_id="v2", sequencer="02"))
    assert len(take(upload("s3://uploads/a", version_id="v1", sequencer="01")).accepted) == 1


def test_sequencers_are_remembered_padded_and_forgotten_when_old(take: Accept, store: Store, run: Sql) -> None:
    take(upload("s3://uploads/a", etag="e1", sequencer="0055AED6DCD9028"))
    take(upload("s3://uploads/a", etag="e2", sequencer="0055AED6DCD90281E5"))
    assert take(upload("s3://uploads/a", etag="e3", sequencer="0055aed6dcd9028")).ignored == {Ignored.SUPERSEDED: 1}
    assert run("SELECT sequencer FROM susy.object_sequencers") == [("0055AED6DCD90281E5",)]
    assert store.hooks.forget_sequencers() == 0
    run("UPDATE susy.object_sequencers SET seen_at = now() - interval '31 days'")
    assert store.hooks.forget_sequencers() == 1


def test_of_a_hundred_events_three_bad_ones_are_refused_and_nothing_of_them_is_written(
    take: Accept, external_ids: Callable[[], list[str]]
) -> None:
    records = [s3_record("uploads", f"{number}.png", eTag=f"e{number}") for number in range(100)]
    records[5]["eventVersion"] = "9.9"
    records[6]["s3"]["bucket"]["name"] = "elsewhere"
    records[7]["s3"]["object"]["key"] = "a%00b"
    outcome = take(*s3_sender.read(message(s3(*records))))
    assert len(outcome.accepted) == 97
    assert {error.code for error in outcome.refused} == {
        ErrorCode.UNKNOWN_EVENT_VERSION,
        ErrorCode.UNMAPPED_BUCKET,
        ErrorCode.INVALID_EVENT,
    }
    assert len(external_ids()) == 97


def test_a_source_that_the_sender_may_not_use_is_refused(take: Accept, external_ids: Callable[[], list[str]]) -> None:
    outcome = take(
        upload("s3://uploads/avatars/a.png", etag="e1"),
        upload("s3://uploads/a.png", etag="e1"),
        may_use=lambda source: source == "avatars",
    )
    assert [error.code for error in outcome.refused] == [ErrorCode.FORBIDDEN_SOURCE]
    assert external_ids() == ["s3://uploads/avatars/a.png#etag=e1"]


def test_what_is_no_upload_is_counted_by_reason(take: Accept, external_ids: Callable[[], list[str]]) -> None:
    events: list[Event] = [Skipped(Ignored.DELETED), Skipped(Ignored.DELETED), Skipped(Ignored.FOLDER)]
    outcome = take(*events, upload("s3://uploads/avatars/a.gif"))
    assert outcome.ignored == {Ignored.DELETED: 2, Ignored.FOLDER: 1, Ignored.SUFFIX: 1}
    assert external_ids() == []


def test_threads_that_accept_the_same_events_make_one_check_of_each(take: Accept, run: Sql) -> None:
    events = [upload(f"s3://uploads/{n}", etag=f"e{n}", sequencer=f"{n:04X}") for n in range(50)]
    outcomes: list[Outcome] = []

    def accept_shuffled(seed: int) -> None:
        shuffled: list[Upload] = random.Random(seed).sample(events, len(events))
        outcomes.append(take(*shuffled))

    threads = [threading.Thread(target=accept_shuffled, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(len(outcome.accepted) for outcome in outcomes) == 50
    assert sum(len(outcome.repeated) for outcome in outcomes) == 250
    assert run("SELECT count(*) FROM susy.checks") == [(50,)]
