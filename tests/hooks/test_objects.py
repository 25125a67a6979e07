"""Locations of objects, the ids of their contents, and the order of their events."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schema.messages import MAX_EXTERNAL_ID
from tests.hooks.payloads import azure_blob, cloudevent, eventbridge, message, s3, s3_record
from worker.hooks.events import Upload
from worker.hooks.objects import (
    UploadLocation,
    content_ids,
    is_older,
    parse_location,
    usable_etag,
    usable_sequencer,
)
from worker.hooks.senders import cloudevents
from worker.hooks.senders import eventbridge as eventbridge_sender
from worker.hooks.senders import s3 as s3_sender

KEYS = st.text(
    st.one_of(st.sampled_from(" +%/?#&=;:@~äé漢🙂\\\"'<>[]{}|^`\n\t"), st.characters(exclude_categories=["Cs"])),
    min_size=1,
    max_size=60,
).filter(lambda key: not key.endswith("/"))


@given(KEYS)
def test_a_key_comes_through_as_it_is_stored_however_its_sender_encodes_it(key: str) -> None:
    [encoded] = s3_sender.read(message(s3(s3_record("uploads", key))))
    [plain] = eventbridge_sender.read(message(eventbridge("uploads", key)))
    [escaped] = cloudevents.read(message(cloudevent(cloudevents.AZURE_CREATED, azure_blob("uploads", key))))
    for event in (encoded, plain, escaped):
        assert isinstance(event, Upload)
        assert event.location.key == key


@given(KEYS, st.sampled_from(["s3", "gs", "az"]))
def test_a_location_is_what_its_uri_names(key: str, scheme: str) -> None:
    location = UploadLocation(scheme, "uploads", key)
    assert parse_location(location.uri) == location
    file = UploadLocation("file", "", "/" + key)
    assert parse_location(file.uri) == file


@given(st.sets(KEYS, min_size=2, max_size=2), st.text("0123456789abcdef#=etag", min_size=1, max_size=10))
def test_two_keys_never_have_an_id_in_common(keys: set[str], etag: str) -> None:
    first, second = (set(content_ids(UploadLocation("s3", "uploads", key), etag=etag, modified=5)) for key in keys)
    assert not first & second


@pytest.mark.parametrize(
    "uri",
    ["", "uploads/a.png", "ftp://host/a", "s3://", "s3:///a", "https://user@host/a", "file://host/a", "s3://a b/c"],
)
def test_what_names_no_location_is_refused(uri: str) -> None:
    with pytest.raises(ValueError, match=r"does not begin|names another host|no valid bucket"):
        parse_location(uri)


def test_the_id_names_the_version_else_the_etag_else_the_time() -> None:
    location = UploadLocation("s3", "uploads", "a b#1.png")
    base = "s3://uploads/a%20b%231.png"
    assert content_ids(location, version_id="v1", etag="e1", modified=7) == [
        f"{base}#version=v1",
        f"{base}#etag=e1",
        f"{base}#modified=7",
        base,
    ]
    assert content_ids(location, etag="e1") == [f"{base}#etag=e1", base]


def test_a_long_key_has_a_short_id_of_its_own() -> None:
    ids = [content_ids(UploadLocation("s3", "uploads", "k" * 1000), etag=etag)[0] for etag in ("e1", "e2", "e1")]
    assert ids[0] == ids[2] != ids[1]
    assert max(map(len, ids)) <= MAX_EXTERNAL_ID


@pytest.mark.parametrize(
    ("etag", "usable"),
    [
        ('"abc"', "abc"),
        ('W/"abc"', "abc"),
        ("abc-2", "abc-2"),
        ("", None),
        (None, None),
        ('"d41d8cd98f00b204e9800998ecf8427e"', None),
        ("d41d8cd98f00b204e9800998ecf8427e-3", None),
    ],
)
def test_an_etag_of_no_content_identifies_nothing(etag: str | None, usable: str | None) -> None:
    assert usable_etag(etag) == usable


def test_sequencers_are_compared_after_filling_the_shorter_one_on_its_right() -> None:
    assert is_older("0055AED6DCD9028", "0055AED6DCD90281E5")
    assert not is_older("0055AED6DCD90281E5", "0055AED6DCD9028")
    assert is_older("0055AED6DCD9027FFF", "0055AED6DCD9028")
    assert not is_older("0055", "00550000")
    assert not is_older("00550000", "0055")


@given(st.lists(st.text("0123456789ABCDEF", min_size=1, max_size=20), min_size=3, max_size=3))
def test_the_order_of_sequencers_is_one(sequencers: list[str]) -> None:
    for first, second, third in itertools.permutations(sequencers):
        assert not (is_older(first, second) and is_older(second, first))
        if is_older(first, second) and is_older(second, third):
            assert is_older(first, third)


def test_what_is_not_a_sequencer_orders_nothing() -> None:
    assert usable_sequencer("00ab") == "00AB"
    assert [usable_sequencer(text) for text in (None, "", "later", "0" * 65)] == [None] * 4
