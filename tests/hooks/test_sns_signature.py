"""Messages of SNS: signed by SNS, of a topic that is listed, by a certificate from SNS's own host."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.hooks.payloads import Topic, message
from worker.errors import ErrorCode, PermanentError
from worker.hooks.senders.sns import envelope
from worker.hooks.sns_signature import SnsVerifier


@pytest.fixture(scope="module")
def topic_key() -> Any:
    return Topic().key


@pytest.fixture
def topic(topic_key: Any) -> Topic:
    return Topic(key=topic_key)


def verifier(topic: Topic, **changes: Any) -> SnsVerifier:
    return SnsVerifier([topic.arn], topic.fetch, **changes)


def code(topic: Topic, document: Any) -> ErrorCode | None:
    try:
        verifier(topic).verify(envelope(message(document)))
    except PermanentError as error:
        return error.code
    return None


@pytest.mark.parametrize("version", ["1", "2"])
def test_a_message_of_a_listed_topic_is_verified(topic: Topic, version: str) -> None:
    assert code(topic, topic.notification("{}", version=version)) is None
    assert code(topic, topic.notification("ä\n", version=version, Subject="Amazon S3")) is None
    assert code(topic, topic.subscription(version=version)) is None


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"Message": "other"}, ErrorCode.INVALID_SIGNATURE),
        ({"MessageId": "other"}, ErrorCode.INVALID_SIGNATURE),
        ({"Subject": "added"}, ErrorCode.INVALID_SIGNATURE),
        ({"Signature": "AAAA"}, ErrorCode.INVALID_SIGNATURE),
        ({"Signature": "%%%"}, ErrorCode.INVALID_SIGNATURE),
        ({"SignatureVersion": "1"}, ErrorCode.INVALID_SIGNATURE),
        ({"SignatureVersion": "3"}, ErrorCode.UNKNOWN_EVENT_VERSION),
        ({"TopicArn": "arn:aws:sns:eu-west-1:999999999999:uploads"}, ErrorCode.UNKNOWN_TOPIC),
        ({"Timestamp": "yesterday"}, ErrorCode.INVALID_SIGNATURE),
        ({"Timestamp": "2026-01-01T00:00:00"}, ErrorCode.INVALID_SIGNATURE),
    ],
)
def test_a_message_that_was_changed_is_refused(topic: Topic, changes: dict[str, str], expected: ErrorCode) -> None:
    assert code(topic, topic.notification("{}") | changes) is expected


@pytest.mark.parametrize(
    "url",
    [
        "http://sns.eu-west-1.amazonaws.com/a.pem",
        "https://sns.eu-west-1.amazonaws.com.evil.example/a.pem",
        "https://evil.example/sns.eu-west-1.amazonaws.com/a.pem",
        "https://sns.eu-west-1.amazonaws.com@evil.example/a.pem",
        "https://evil@sns.eu-west-1.amazonaws.com/a.pem",
        "https://sns.eu-west-1.amazonaws.com:8443/a.pem",
        "https://sns.us-east-1.amazonaws.com/a.pem",
        "https://bucket.s3.amazonaws.com/a.pem",
        "https://sns.eu-west-1.amazonaws.com/\n.pem",
        "https://SNS.eu-west-1.amazonaws.com\\.evil.example/a.pem",
        "https://[::1/a.pem",
        "",
    ],
)
def test_a_certificate_is_fetched_from_nowhere_but_sns(topic: Topic, url: str) -> None:
    assert code(topic, topic.notification("{}", SigningCertURL=url)) is ErrorCode.INVALID_SIGNATURE
    forged = envelope(message(topic.subscription(SubscribeURL=url)))
    with pytest.raises(PermanentError) as refused:
        verifier(topic).confirm(forged)
    assert refused.value.code is ErrorCode.INVALID_SIGNATURE
    assert topic.fetched == []


def test_a_certificate_is_fetched_once_and_counts_while_it_is_valid(topic: Topic) -> None:
    verify = verifier(topic)
    for _ in range(3):
        verify.verify(envelope(message(topic.notification("{}"))))
    assert topic.fetched == [topic.certificate_url]
    later = verifier(topic, clock=lambda: topic.now + timedelta(days=40))
    with pytest.raises(PermanentError, match="expired"):
        later.verify(
            envelope(message(topic.notification("{}", Timestamp=(topic.now + timedelta(days=40)).isoformat())))
        )


def test_what_is_not_a_certificate_is_refused(topic: Topic) -> None:
    verify = SnsVerifier([topic.arn], lambda _url: b"<html>")
    with pytest.raises(PermanentError) as refused:
        verify.verify(envelope(message(topic.notification("{}"))))
    assert refused.value.code is ErrorCode.INVALID_SIGNATURE


@pytest.mark.parametrize(
    ("age", "expected"),
    [(timedelta(hours=23), None), (timedelta(hours=25), "expired"), (timedelta(minutes=-10), "expired")],
)
def test_a_message_counts_for_a_day_because_sns_repeats_it_for_hours(
    topic: Topic, age: timedelta, expected: str | None
) -> None:
    document = topic.notification("{}", Timestamp=(topic.now - age).isoformat())
    assert code(topic, document) is (ErrorCode.EXPIRED_SIGNATURE if expected else None)


def test_a_subscription_is_confirmed_at_sns(topic: Topic) -> None:
    document = topic.subscription()
    verifier(topic).confirm(envelope(message(document)))
    assert topic.fetched == [document["SubscribeURL"]]
