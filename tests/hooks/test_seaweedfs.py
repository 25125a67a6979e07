"""What a real SeaweedFS reports of uploads by S3 and tus, and what it is read as."""

from __future__ import annotations

import base64
import json
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.hooks.payloads import message
from tests.support.lazily import ImportedWhenUsed
from tests.support.seaweedfs import TOKEN, Receiver, SeaweedFS
from tests.support.waiting import eventually
from worker.hooks.events import Event, Ignored, Skipped, Upload
from worker.hooks.objects import UploadLocation
from worker.hooks.senders import seaweedfs as sender
from worker.hooks.sweep import S3Bucket

tusclient = ImportedWhenUsed("tusclient.client")

Read = Callable[[int], list[Event]]


@pytest.fixture
def read(notified: Callable[[], list[dict[str, Any]]]) -> Read:
    """Waits for that many uploads, and returns all events about the bucket."""

    def wait(uploads: int) -> list[Event]:
        def events() -> list[Event]:
            return [event for document in notified() for event in sender.read(message(document))]

        eventually(lambda: sum(isinstance(event, Upload) for event in events()) >= uploads, 20, lambda: str(notified()))
        return events()

    return wait


def listed(seaweedfs: SeaweedFS, bucket: str) -> list[Upload]:
    """The uploads as a sweep finds them."""
    pages = S3Bucket(UploadLocation("s3", bucket, ""), seaweedfs.client()).pages(None)
    return [item.upload for objects, _ in pages for item in objects]


def identity(upload: Upload) -> tuple[str, str | None, str | None, int | None]:
    return upload.location.key, upload.version_id, upload.etag, upload.modified


def uploads(events: list[Event]) -> list[Upload]:
    return [event for event in events if isinstance(event, Upload)]


def test_its_notifications_carry_the_token(
    seaweedfs: SeaweedFS, bucket: str, read: Read, notifications: Receiver
) -> None:
    seaweedfs.client().put_object(Bucket=bucket, Key="a.png", Body=b"1")
    read(1)
    assert {headers["authorization"] for headers in notifications.headers} == {f"Bearer {TOKEN}"}


def test_an_upload_is_read_with_key_size_etag_and_metadata_as_s3_lists_it(
    seaweedfs: SeaweedFS, bucket: str, read: Read
) -> None:
    client = seaweedfs.client()
    keys = ["avatars/a.png", "odd/ä +%20?#[]&.png", "q'uote\"s.png"]
    for key in keys:
        client.put_object(Bucket=bucket, Key=key, Body=key.encode(), ContentType="image/png", Metadata={"user": "u1"})
    found = uploads(read(len(keys)))
    assert sorted(map(identity, found)) == sorted(map(identity, listed(seaweedfs, bucket)))
    assert {upload.location for upload in found} == {UploadLocation("s3", bucket, key) for key in keys}
    assert all(upload.metadata["user"] == "u1" for upload in found)
    assert {upload.location.key: upload.size for upload in found} == {key: len(key.encode()) for key in keys}


def test_a_multipart_upload_is_one_upload_and_a_copy_another(seaweedfs: SeaweedFS, bucket: str, read: Read) -> None:
    client = seaweedfs.client()
    made = client.create_multipart_upload(Bucket=bucket, Key="big.png")
    options = {"Bucket": bucket, "Key": "big.png", "UploadId": made["UploadId"]}
    parts = []
    for number, content in enumerate((b"x" * (5 << 20), b"y"), 1):
        part = client.upload_part(**options, PartNumber=number, Body=content)
        parts.append({"PartNumber": number, "ETag": part["ETag"]})
    client.complete_multipart_upload(**options, MultipartUpload={"Parts": parts})
    client.copy_object(Bucket=bucket, Key="copy.png", CopySource={"Bucket": bucket, "Key": "big.png"})
    events = read(2)
    assert sorted(map(identity, uploads(events))) == sorted(map(identity, listed(seaweedfs, bucket)))
    assert {upload.size for upload in uploads(events)} == {(5 << 20) + 1}
    assert Skipped(Ignored.INTERNAL) in events  # the parts


def test_an_overwritten_object_is_another_upload_with_a_later_sequencer(
    seaweedfs: SeaweedFS, bucket: str, read: Read
) -> None:
    client = seaweedfs.client()
    client.put_object(Bucket=bucket, Key="a.png", Body=b"first")
    read(1)
    client.put_object(Bucket=bucket, Key="a.png", Body=b"second")
    first, second = sorted(uploads(read(2)), key=lambda upload: upload.sequencer or "")
    assert (first.size, second.size) == (5, 6)
    assert identity(second) == identity(listed(seaweedfs, bucket)[0])
    assert first.etag != second.etag


def test_versions_have_their_ids(seaweedfs: SeaweedFS, bucket: str, read: Read) -> None:
    client = seaweedfs.client()
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    versions = [client.put_object(Bucket=bucket, Key="a b.png", Body=b"same")["VersionId"] for _ in range(2)]
    found = uploads(read(2))
    assert {upload.version_id for upload in found} == set(versions)
    assert {upload.location.key for upload in found} == {"a b.png"}
    assert [upload.version_id for upload in listed(seaweedfs, bucket)] == [versions[1]]


def test_deletions_folders_and_empty_objects_are_no_uploads(seaweedfs: SeaweedFS, bucket: str, read: Read) -> None:
    client = seaweedfs.client()
    client.put_object(Bucket=bucket, Key="empty.png", Body=b"")
    client.put_object(Bucket=bucket, Key="folder/", Body=b"")
    client.put_object(Bucket=bucket, Key="a.png", Body=b"1")
    client.delete_object(Bucket=bucket, Key="a.png")
    eventually(lambda: Skipped(Ignored.DELETED) in read(1), 20)
    reasons = {event.reason for event in read(1) if isinstance(event, Skipped)}
    assert {Ignored.EMPTY, Ignored.FOLDER, Ignored.DELETED} <= reasons
    assert len(uploads(read(1))) == 1


def test_a_renamed_file_is_an_upload_of_the_new_key(seaweedfs: SeaweedFS, bucket: str, read: Read) -> None:
    seaweedfs.client().put_object(Bucket=bucket, Key="old.png", Body=b"1")
    read(1)
    new = f"{seaweedfs.filer}/buckets/{bucket}/moved/new.png?mv.from=/buckets/{bucket}/old.png"
    urllib.request.urlopen(urllib.request.Request(new, method="POST"), timeout=10).close()
    assert {upload.location.key for upload in uploads(read(2))} == {"old.png", "moved/new.png"}


def test_an_upload_by_tus_is_identified_by_its_time_because_its_etag_says_nothing(
    seaweedfs: SeaweedFS, bucket: str, read: Read, tmp_path: Path
) -> None:
    path = tmp_path / "tus.png"
    path.write_bytes(b"p" * 3000)
    client = tusclient.TusClient(f"{seaweedfs.filer}/.tus/buckets/{bucket}/tus.png")
    with path.open("rb") as file:
        client.uploader(file_stream=file, chunk_size=1000, metadata={"filename": "tus.png"}).upload()
    [upload] = uploads(read(1))
    assert (upload.size, upload.etag) == (3000, None)
    assert upload.modified is not None
    assert identity(upload) == identity(listed(seaweedfs, bucket)[0])


def test_a_change_of_metadata_alone_is_no_upload() -> None:
    entry = {
        "name": "a.png",
        "chunks": [{"size": 3, "modified_ts_ns": 5}],
        "attributes": {"file_size": 3, "md5": base64.b64encode(b"0" * 16).decode()},
    }
    change = {"old_entry": entry, "new_entry": {**entry, "extended": {"x": "eA=="}}, "new_parent_path": "/buckets/b"}
    document = {"event_type": "update", "key": "/buckets/b/a.png", "message": change}
    assert sender.read(message(document)) == [Skipped(Ignored.UNCHANGED)]
    json.dumps(document)
