"""Storing uploads in a folder and in a bucket of a real S3 server: whole, once, or not at all."""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.sources.conftest import MakeSettings
from tests.support.seaweedfs import SeaweedFS
from tests.support.web import web_server
from worker.errors import ConfigurationError, ErrorCode, PermanentError, SusyError, TransientError
from worker.settings import Settings
from worker.sources.sources import Sources
from worker.sources.storage import ABANDONED_AFTER, Storage, open_storage

CONTENT = bytes(range(256)) * 50
DIGEST = hashlib.sha256(CONTENT).hexdigest()
List = Callable[[], list[str]]


@pytest.fixture(params=["folder", "bucket"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[dict[str, Any], str, List]:
    """Settings of a storage, the URI under which it has an image, and what is in it."""
    if request.param == "folder":
        folder = tmp_path / "storage"
        listing = lambda: sorted(str(path) for path in folder.rglob("*") if path.is_file())  # noqa: E731
        return {"storage": str(folder)}, f"{folder}/{{}}", listing
    s3: Any = request.getfixturevalue("s3")
    bucket: str = request.getfixturevalue("bucket")

    def objects() -> list[str]:
        assert s3.list_multipart_uploads(Bucket=bucket).get("Uploads", []) == []
        keys = [item["Key"] for item in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]
        return [f"s3://{bucket}/{key}" for key in keys]

    return (
        {"storage": f"s3://{bucket}/by-digest/", "buckets": f"s3://{bucket}"},
        f"s3://{bucket}/by-digest/{{}}",
        objects,
    )


def stored(storage: Storage, *pieces: bytes) -> str:
    upload = storage.begin()
    try:
        for piece in pieces:
            upload.write(piece)
        uri = upload.finish()
        upload.keep()
    finally:
        upload.discard()
    return uri


def test_an_image_is_stored_once_under_its_digest_and_read_by_workers(
    place: tuple[dict[str, Any], str, List], made: MakeSettings
) -> None:
    changes, uri, listing = place
    settings = made(max_bytes="1MB", **changes)
    storage = open_storage(settings)
    expected = uri.format(f"{DIGEST[:2]}/{DIGEST}")
    assert stored(storage, CONTENT[:7], b"", CONTENT[7:]) == expected
    assert stored(storage, CONTENT) == expected
    assert listing() == [expected]
    with Sources(settings) as sources:
        assert sources.read(expected).content == CONTENT


def test_what_is_given_up_leaves_nothing(place: tuple[dict[str, Any], str, List], made: MakeSettings) -> None:
    changes, _, listing = place
    storage = open_storage(made(**changes))
    for finishes in (False, True):
        upload = storage.begin()
        upload.write(CONTENT)
        if finishes:
            upload.finish()
        upload.discard()
        upload.discard()
    assert listing() == []


def test_the_same_content_is_one_version_in_a_bucket_that_keeps_versions(
    s3: Any, bucket: str, made: MakeSettings
) -> None:
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    storage = open_storage(made(storage=f"s3://{bucket}", buckets=f"s3://{bucket}"))
    assert stored(storage, CONTENT) == stored(storage, CONTENT)
    assert len(s3.list_object_versions(Bucket=bucket)["Versions"]) == 1


def test_an_image_larger_than_a_part_is_stored_in_one_request(s3: Any, bucket: str, made: MakeSettings) -> None:
    content = os.urandom(1 << 20) * 12
    storage = open_storage(made(storage=f"s3://{bucket}", buckets=f"s3://{bucket}"))
    [key] = [stored(storage, content).removeprefix(f"s3://{bucket}/")]
    found = s3.head_object(Bucket=bucket, Key=key)
    assert (found["ContentLength"], found["ETag"]) == (len(content), f'"{hashlib.md5(content).hexdigest()}"')


def test_workers_of_another_user_may_read_a_stored_file(tmp_path: Path, made: MakeSettings) -> None:
    uri = stored(open_storage(made(storage=str(tmp_path / "storage"))), CONTENT)
    assert stat.S_IMODE(Path(uri).stat().st_mode) & 0o444 == 0o444


def test_what_a_killed_process_left_is_removed_after_a_day(tmp_path: Path, made: MakeSettings) -> None:
    settings = made(storage=str(tmp_path / "storage"))
    open_storage(settings)
    old, young = tmp_path / "storage/.old.part", tmp_path / "storage/.young.part"
    for path, age in ((old, ABANDONED_AFTER + 60), (young, 60)):
        path.write_bytes(b"partial")
        os.utime(path, (time.time() - age,) * 2)
    open_storage(settings)
    assert (old.exists(), young.exists()) == (False, True)


@pytest.mark.parametrize("status", [403, 500, 503])
def test_a_store_that_refuses_is_transient_and_says_nothing_of_credentials(
    made: MakeSettings, seaweedfs: SeaweedFS, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    with web_server() as store:
        for name, value in (seaweedfs.environment | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{store.port}"}).items():
            monkeypatch.setenv(name, value)
        store.answers[f"/bucket/{DIGEST[:2]}/{DIGEST}"] = lambda connection: connection.answer(
            404 if connection.method == "HEAD" else status
        )
        error = failure(made(storage="s3://bucket", buckets="s3://bucket"))
    assert isinstance(error, TransientError)
    assert [request.method for request in store.requests] == ["HEAD", "PUT"]


def test_a_store_that_is_down_is_transient(made: MakeSettings, s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    assert isinstance(failure(made(storage="s3://bucket", buckets="s3://bucket")), TransientError)


def failure(settings: Settings) -> SusyError:
    with pytest.raises(SusyError) as caught:
        stored(open_storage(settings), CONTENT)
    assert "\n" not in caught.value.message
    for secret in ("test-access-key", "test-secret-key", "127.0.0.1"):
        assert secret not in caught.value.message
    return caught.value


def test_a_storage_that_workers_could_not_read_is_refused(made: MakeSettings, tmp_path: Path) -> None:
    with pytest.raises(PermanentError) as caught:
        open_storage(made())
    assert caught.value.code is ErrorCode.NO_STORAGE
    for storage in ("/elsewhere", "s3://bucket/other/"):
        with pytest.raises(ConfigurationError, match="no worker could read it"):
            open_storage(made(storage=storage, buckets="s3://bucket/images/"))
    for storage in ("relative", "ftp://bucket", "s3://bucket/../x"):
        with pytest.raises(ConfigurationError, match="SUSY_STORAGE"):
            made(storage=storage)
