"""S3 events in the form of Amazon EventBridge. Keys are not encoded here.

Their form is in the Amazon S3 User Guide under "EventBridge event message structure".
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from worker.hooks.events import Event, Ignored, Message, Payload, Skipped, parse_object, unknown_version, validated
from worker.hooks.objects import UploadLocation
from worker.hooks.senders.s3 import object_event

VERSION = "0"


class _Bucket(Payload):
    name: Annotated[str, Field(min_length=1)]


class _Object(Payload):
    key: Annotated[str, Field(min_length=1)]
    size: Annotated[int, Field(ge=0)] | None = None
    etag: str | None = None
    version_id: str | None = Field(None, alias="version-id")
    sequencer: str | None = None


class _Detail(Payload):
    version: str = VERSION
    bucket: _Bucket
    object: _Object


class _Envelope(Payload):
    version: str
    kind: str = Field(alias="detail-type")
    source: str
    detail: dict[str, Any]


def read(message: Message) -> list[Event]:
    """The one event of a message."""
    return read_document(parse_object(message.body, "the EventBridge event"))


def read_document(document: dict[str, Any]) -> list[Event]:
    """The same for a message that has been parsed."""
    envelope = validated(_Envelope, document, "the EventBridge event")
    if envelope.version != VERSION:
        raise unknown_version("the EventBridge event", envelope.version, VERSION)
    if envelope.source != "aws.s3" or envelope.kind != "Object Created":
        is_deletion = envelope.source == "aws.s3" and envelope.kind == "Object Deleted"
        return [Skipped(Ignored.DELETED if is_deletion else Ignored.NOT_AN_UPLOAD)]
    detail = validated(_Detail, envelope.detail, "the EventBridge event's detail")
    if detail.version != VERSION:
        raise unknown_version("the EventBridge event's detail", detail.version, VERSION)
    stored = detail.object
    return [
        object_event(
            UploadLocation("s3", detail.bucket.name, stored.key),
            size=stored.size,
            version_id=stored.version_id,
            etag=stored.etag,
            sequencer=stored.sequencer,
        )
    ]
