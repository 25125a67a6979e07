"""Messages of Amazon SNS: S3 events in the envelope of a topic.

Their form and their signature are in the Amazon SNS Developer Guide under "Parsing message formats" and "Verifying the
signatures". Who calls `read` has verified the signature (`worker.hooks.sns_signature`), or received the message from a
queue, whose policy says who may write to it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from worker.hooks.events import Event, Ignored, Message, Payload, Skipped, parse_object, validated
from worker.hooks.senders import eventbridge, s3


class Kind(StrEnum):
    """What a message of SNS is for."""

    NOTIFICATION = "Notification"
    SUBSCRIPTION = "SubscriptionConfirmation"
    """Somebody subscribed this service; fetching `SubscribeURL` confirms it."""
    UNSUBSCRIPTION = "UnsubscribeConfirmation"
    """The subscription ended; fetching `SubscribeURL` would begin it again."""


class Envelope(Payload):
    """A message of SNS."""

    kind: Kind = Field(alias="Type")
    message_id: Annotated[str, Field(alias="MessageId", min_length=1)]
    topic: Annotated[str, Field(alias="TopicArn", min_length=1)]
    message: str = Field(alias="Message")
    timestamp: str = Field("", alias="Timestamp")
    signature_version: str = Field("", alias="SignatureVersion")
    signature: str = Field("", alias="Signature")
    certificate_url: str = Field("", alias="SigningCertURL")
    subject: str | None = Field(None, alias="Subject")
    token: str | None = Field(None, alias="Token")
    subscribe_url: str | None = Field(None, alias="SubscribeURL")


def envelope(message: Message) -> Envelope:
    """The message. Raises `PermanentError(invalid_event)`."""
    return validated(Envelope, parse_object(message.body, "the SNS message"), "the SNS message")


def read(message: Message) -> list[Event]:
    """The events of the S3 event that a notification carries, in either of its forms."""
    received = envelope(message)
    if received.kind is not Kind.NOTIFICATION:
        return [Skipped(Ignored.NOT_AN_UPLOAD)]
    inner = parse_object(received.message, "the Message of SNS")
    return eventbridge.read_document(inner) if "detail-type" in inner else s3.read_document(inner)
