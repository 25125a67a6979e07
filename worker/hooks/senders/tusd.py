"""Hooks of tusd (`-hooks-http URL -hooks-enabled-events post-finish`).

Their form is in tusd's documentation under "Hooks". tusd 1.x sends the event's name as the header `Hook-Name` and the
upload without `Event` around it; both are read.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from worker.hooks.events import Event, Ignored, Message, Payload, Skipped, Upload, invalid, parse_object, validated
from worker.hooks.objects import UploadLocation

EVENT = "post-finish"


class _Upload(Payload):
    size: int | None = Field(None, alias="Size", ge=0)
    is_partial: bool = Field(False, alias="IsPartial")
    metadata: dict[str, str] | None = Field(None, alias="MetaData")
    storage: dict[str, Any] | None = Field(None, alias="Storage")


class _Hook(Payload):
    upload: _Upload = Field(alias="Upload")


def read(message: Message) -> list[Event]:
    """The one event of a message."""
    document = parse_object(message.body, "the tusd hook")
    kind = document.get("Type", message.headers.get("hook-name"))
    if not isinstance(kind, str):
        raise invalid("the tusd hook has no Type")
    if kind != EVENT:
        return [Skipped(Ignored.NOT_AN_UPLOAD)]
    upload = validated(_Hook, document.get("Event", document), "the tusd hook").upload
    if upload.is_partial:
        return [Skipped(Ignored.PARTIAL)]
    if upload.size == 0:
        return [Skipped(Ignored.EMPTY)]
    return [Upload(_location(upload.storage or {}), size=upload.size, metadata=upload.metadata or {})]


def _location(storage: dict[str, Any]) -> UploadLocation:
    match storage:
        case {"Type": "s3store", "Bucket": str(bucket), "Key": str(key)} if bucket and key:
            return UploadLocation("s3", bucket, key)
        case {"Type": "gcsstore", "Bucket": str(bucket), "Key": str(key)} if bucket and key:
            return UploadLocation("gs", bucket, key)
        case {"Type": "azurestore", "Container": str(bucket), "Key": str(key)} if bucket and key:
            return UploadLocation("az", bucket, key)
        case {"Type": "filestore", "Path": str(path)}:
            if not path.startswith("/"):
                raise invalid("the tusd hook names a relative path; give tusd an absolute -upload-dir")
            return UploadLocation("file", "", path)
    raise invalid("the tusd hook's Storage is neither s3store, gcsstore, azurestore nor filestore with its fields")
