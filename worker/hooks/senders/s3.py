"""Event records of S3, as AWS, MinIO, Ceph and Wasabi send them: `{"Records": [...]}`.

Their form is in the Amazon S3 User Guide under "Event message structure". Keys are percent-encoded, `+` is a space.
MinIO and Ceph write `s3:ObjectCreated:Put` where AWS writes `ObjectCreated:Put`; MinIO adds `Key` and `EventName`
around the records, which say the same once more.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import Field

from worker.errors import PermanentError
from worker.hooks.events import (
    Event,
    Ignored,
    Message,
    Payload,
    Refused,
    Skipped,
    Upload,
    invalid,
    parse_object,
    unknown_version,
    validated,
)
from worker.hooks.objects import UploadLocation, decode_key, usable_etag, usable_version

MAX_RECORDS = 1000
_NOT_CONTENT = ("PutRetention", "PutLegalHold", "PutTagging", "DeleteTagging", "PutAcl")
"""What MinIO reports as `ObjectCreated` although the object was there before."""
_USER_METADATA = "x-amz-meta-"


class _Bucket(Payload):
    name: Annotated[str, Field(min_length=1)]


class _Object(Payload):
    key: Annotated[str, Field(min_length=1)]
    size: Annotated[int, Field(ge=0)] | None = None
    etag: str | None = Field(None, alias="eTag")
    version_id: str | None = Field(None, alias="versionId")
    sequencer: str | None = None
    user_metadata: dict[str, Any] | None = Field(None, alias="userMetadata")


class _Entity(Payload):
    bucket: _Bucket
    object: _Object


class _Record(Payload):
    version: str = Field(alias="eventVersion")
    name: str = Field(alias="eventName")
    s3: _Entity


def read(message: Message) -> list[Event]:
    """The events of a message; one that is refused does not keep the others from being used."""
    return read_document(parse_object(message.body, "the S3 event"))


def read_document(document: dict[str, Any]) -> list[Event]:
    """The same for a message that has been parsed."""
    if not document or document.get("Event") == "s3:TestEvent":
        return [Skipped(Ignored.TEST)]
    records = document.get("Records")
    if not isinstance(records, list) or not records:
        raise invalid("the S3 event has no list Records")
    if len(records) > MAX_RECORDS:
        raise invalid(f"the S3 event has more than {MAX_RECORDS} records")
    return [_event(record) for record in records]


def _event(document: Any) -> Event:
    try:
        return _read_record(validated(_Record, _with_version_checked(document), "the S3 event's record"))
    except PermanentError as error:
        return Refused(error)


def _with_version_checked(document: Any) -> Any:
    """The record, unless it has another version: then its other fields say nothing."""
    if isinstance(document, dict):
        version = document.get("eventVersion")
        if isinstance(version, str) and not re.fullmatch(r"2\.\d{1,3}", version):
            raise unknown_version("the S3 event's record", version, "2.x")
    return document


def _read_record(record: _Record) -> Event:
    kind, _, detail = record.name.removeprefix("s3:").partition(":")
    if kind != "ObjectCreated" or detail in _NOT_CONTENT:
        is_deletion = kind in ("ObjectRemoved", "LifecycleExpiration")
        return Skipped(Ignored.DELETED if is_deletion else Ignored.NOT_AN_UPLOAD)
    stored = record.s3.object
    try:
        key = decode_key(stored.key, plus_is_space=True)
    except ValueError as error:
        raise invalid(f"the key of the S3 event's record {error}") from error
    metadata = {
        name.lower().removeprefix(_USER_METADATA): str(value)
        for name, value in (stored.user_metadata or {}).items()
        if name.lower().startswith(_USER_METADATA)
    }
    return object_event(
        UploadLocation("s3", record.s3.bucket.name, key),
        size=stored.size,
        version_id=stored.version_id,
        etag=stored.etag,
        sequencer=stored.sequencer,
        metadata=metadata,
    )


def object_event(
    location: UploadLocation,
    *,
    size: int | None,
    version_id: str | None,
    etag: str | None,
    sequencer: str | None = None,
    modified: int | None = None,
    metadata: dict[str, str] | None = None,
) -> Event:
    """An object that was stored, as an upload, unless it is a folder or empty."""
    if location.key.endswith("/"):
        return Skipped(Ignored.FOLDER)
    if size == 0:
        return Skipped(Ignored.EMPTY)
    return Upload(
        location,
        size=size,
        version_id=usable_version(version_id),
        etag=usable_etag(etag),
        modified=modified,
        sequencer=sequencer or None,
        metadata=metadata or {},
    )
