"""Changes that SeaweedFS's filer reports by `[notification.webhook]` of its `notification.toml`.

`{"event_type": "create", "key": "/buckets/BUCKET/KEY", "message": {"old_entry", "new_entry", "new_parent_path", …}}`,
where an entry is a file's metadata in the filer. Values of `extended` are base64. Objects of a bucket with versions are
files `KEY.versions/v_VERSION`.
"""

from __future__ import annotations

import base64
import binascii
import posixpath
import re
from typing import Annotated

from pydantic import Field

from worker.hooks.events import Event, Ignored, Message, Payload, Skipped, parse_object, validated
from worker.hooks.objects import UploadLocation, usable_etag, usable_version
from worker.hooks.senders.s3 import object_event

BUCKETS = "/buckets/"
_VERSION_FILE = re.compile(r"(?P<key>.+)\.versions/v_[0-9a-f]+", re.DOTALL)
_USER_METADATA = "x-amz-meta-"


class _Chunk(Payload):
    offset: int = 0
    size: int = 0
    modified_ns: int = Field(0, alias="modified_ts_ns")
    etag: str | None = Field(None, alias="e_tag")


class _Attributes(Payload):
    file_size: int = 0
    mtime: int = 0
    md5: str | None = None


class _Entry(Payload):
    name: str
    is_directory: bool = False
    chunks: tuple[_Chunk, ...] = ()
    attributes: _Attributes = _Attributes()
    extended: dict[str, str] = Field(default_factory=dict)
    content: str | None = None
    """Base64 of a small file's bytes, where the filer keeps them itself."""

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return max(
            self.attributes.file_size,
            max((chunk.offset + chunk.size for chunk in self.chunks), default=0),
            len(self.content or "") * 3 // 4,
        )

    def extended_text(self, name: str) -> str | None:
        """A value of `extended`."""
        try:
            return base64.b64decode(self.extended[name], validate=True).decode() if name in self.extended else None
        except (binascii.Error, ValueError):
            return None

    @property
    def etag(self) -> str | None:
        """As the S3 gateway gives it; None where that says nothing about the content."""
        etag = self.extended_text("Seaweed-X-Amz-ETag")
        if etag is None and self.attributes.md5:
            etag = base64.b64decode(self.attributes.md5).hex()
        return usable_etag(etag)

    @property
    def metadata(self) -> dict[str, str]:
        """What the uploader sent along."""
        names = [name for name in self.extended if name.lower().startswith(_USER_METADATA)]
        return {name[len(_USER_METADATA) :].lower(): self.extended_text(name) or "" for name in names}


class _Change(Payload):
    old_entry: _Entry | None = None
    new_entry: _Entry | None = None
    new_parent_path: str = ""


class _Notification(Payload):
    kind: Annotated[str, Field(alias="event_type", min_length=1)]
    key: str
    message: _Change


def read(message: Message) -> list[Event]:
    """The one event of a message."""
    what = "the SeaweedFS notification"
    notification = validated(_Notification, parse_object(message.body, what), what)
    old, new = notification.message.old_entry, notification.message.new_entry
    if new is None:
        return [Skipped(Ignored.DELETED)]
    if new.is_directory:
        return [Skipped(Ignored.FOLDER)]
    # After a renaming, `key` is the old name.
    parent = notification.message.new_parent_path
    path = posixpath.join(parent, new.name) if parent else notification.key
    bucket, _, key = path.removeprefix(BUCKETS).partition("/")
    if not path.startswith(BUCKETS) or not key or bucket.startswith(".") or key.startswith(".uploads/"):
        return [Skipped(Ignored.INTERNAL)]
    version_id = usable_version(new.extended_text("Seaweed-X-Amz-Version-Id"))
    if version_id and (file := _VERSION_FILE.fullmatch(key)):
        key = file["key"]
    if old is not None and notification.kind == "update" and _same_content(old, new):
        return [Skipped(Ignored.UNCHANGED)]
    etag = new.etag
    written = max((chunk.modified_ns for chunk in new.chunks), default=0) or new.attributes.mtime * 10**9
    return [
        object_event(
            UploadLocation("s3", bucket, key),
            size=new.size,
            version_id=version_id,
            etag=etag,
            modified=None if etag or version_id else new.attributes.mtime,
            sequencer=f"{written:020x}" if written else None,
            metadata=new.metadata,
        )
    ]


def _same_content(old: _Entry, new: _Entry) -> bool:
    return old.size == new.size and old.content == new.content and _written(old) == _written(new)


def _written(entry: _Entry) -> list[tuple[int, int, int]]:
    return [(chunk.offset, chunk.size, chunk.modified_ns) for chunk in entry.chunks]
