"""Images in a bucket of a real S3 server: keys, versions, statuses, limits."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.sources.conftest import MakeSettings
from tests.support.seaweedfs import SeaweedFS
from tests.support.web import Connection, web_server
from worker.errors import ErrorCode, PermanentError, SusyError, TransientError
from worker.settings import Settings
from worker.sources.objects import Stores, probe
from worker.sources.sources import Sources, locate


def refusal(sources: Sources, uri: str, **version: str) -> SusyError:
    with pytest.raises(SusyError) as caught:
        sources.read(uri, **version)  # type: ignore[arg-type]
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 300
    for secret in ("test-access-key", "test-secret-key", "127.0.0.1", "hunter2"):
        assert secret not in caught.value.message
    return caught.value


@pytest.mark.parametrize(
    "key",
    [
        "a.jpg",
        "a b+c%20d.jpg",
        "ü/ß😀.jpg",
        "q?x=1#f",
        "back\\slash",
        "~*^{}|[]\"<>`'",
        "...",
        ".hidden",
        "a&b=c;d:e@f",
    ],
)
def test_a_key_is_read_as_it_is_written(from_bucket: Sources, s3: Any, bucket: str, key: str) -> None:
    put = s3.put_object(Bucket=bucket, Key=f"uploads/{key}", Body=key.encode())
    arrived: list[int] = []
    fetched = from_bucket.read(f"s3://{bucket}/uploads/{key}", received=arrived.append)
    assert (fetched.content, fetched.etag) == (key.encode(), put["ETag"].strip('"'))
    assert sum(arrived) == len(key.encode())


@pytest.mark.parametrize(
    "key", ["uploads//a", "uploads/../a", "uploads/./a", "uploads/a/", "/uploads/a", "uploads/a\tb"]
)
def test_a_key_that_the_library_would_change_is_refused(from_bucket: Sources, bucket: str, key: str) -> None:
    assert refusal(from_bucket, f"s3://{bucket}/{key}").code is ErrorCode.KEY_UNSUPPORTED


@pytest.mark.parametrize(
    "uri", ["s3://", "s3://b", "s3:///key", "s3:bucket/key", "s3://user:hunter2@bucket/key", "s3://a/b"]
)
def test_a_uri_without_bucket_and_key_is_refused(from_bucket: Sources, uri: str) -> None:
    error = refusal(from_bucket, uri)
    assert (type(error), error.code) == (PermanentError, ErrorCode.UNSUPPORTED_SOURCE)


def test_only_listed_buckets_and_prefixes_are_read(from_bucket: Sources, s3: Any, bucket: str) -> None:
    for key in ("private/a", "uploads-private/a", "uploads"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"secret")
        assert refusal(from_bucket, f"s3://{bucket}/{key}").code is ErrorCode.BUCKET_REFUSED
    for uri in (f"gs://{bucket}/uploads/a", f"s3://{bucket}-2/uploads/a"):
        assert refusal(from_bucket, uri).code is ErrorCode.BUCKET_REFUSED


def test_no_bucket_is_read_unless_one_is_listed(made: MakeSettings, s3: Any, bucket: str) -> None:
    with Sources(made()) as sources:
        error = refusal(sources, f"s3://{bucket}/uploads/a")
    assert error.code is ErrorCode.BUCKET_REFUSED
    assert "SUSY_BUCKETS" in error.message


def test_a_version_is_read_even_after_it_was_replaced_or_deleted(from_bucket: Sources, s3: Any, bucket: str) -> None:
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    uri = f"s3://{bucket}/uploads/a"
    first = s3.put_object(Bucket=bucket, Key="uploads/a", Body=b"one")["VersionId"]
    second = s3.put_object(Bucket=bucket, Key="uploads/a", Body=b"two")["VersionId"]
    assert (from_bucket.read(uri).content, from_bucket.read(uri).version_id) == (b"two", second)
    old = from_bucket.read(uri, version_id=first)
    assert (old.content, old.version_id) == (b"one", first)
    s3.delete_object(Bucket=bucket, Key="uploads/a")
    assert refusal(from_bucket, uri).code is ErrorCode.NOT_FOUND
    assert from_bucket.read(uri, version_id=second).content == b"two"
    assert refusal(from_bucket, uri, version_id="hunter3").code is ErrorCode.NOT_FOUND


def test_what_is_not_there_and_what_may_not_be_read_is_permanent(
    from_bucket: Sources, made: MakeSettings, s3: Any, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = refusal(from_bucket, f"s3://{bucket}/uploads/missing")
    assert (type(error), error.code) == (PermanentError, ErrorCode.NOT_FOUND)
    with Sources(made(buckets="s3://no-such-bucket")) as sources:
        error = refusal(sources, "s3://no-such-bucket/a")
    assert (error.code, "bucket of" in error.message) == (ErrorCode.NOT_FOUND, True)
    s3.put_object(Bucket=bucket, Key="uploads/a", Body=b"bytes")
    for name in ("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID"):
        monkeypatch.setenv(name, "hunter2")
        with Sources(made(buckets=f"s3://{bucket}")) as sources:
            error = refusal(sources, f"s3://{bucket}/uploads/a")
        assert (type(error), error.code) == (PermanentError, ErrorCode.ACCESS_DENIED)


def test_an_object_over_the_limit_is_not_transferred(from_bucket: Sources, s3: Any, bucket: str) -> None:
    arrived: list[int] = []
    s3.put_object(Bucket=bucket, Key="uploads/a", Body=b"x" * 1001)
    with pytest.raises(PermanentError) as caught:
        from_bucket.read(f"s3://{bucket}/uploads/a", received=arrived.append)
    assert (caught.value.code, arrived) == (ErrorCode.TOO_MANY_BYTES, [])


def test_a_large_object_arrives_in_pieces(made: MakeSettings, s3: Any, bucket: str) -> None:
    body = bytes(range(256)) * 40_000
    s3.put_object(Bucket=bucket, Key="a", Body=body)
    arrived: list[int] = []
    with Sources(made(buckets=f"s3://{bucket}", max_bytes="50MB")) as sources:
        assert sources.read(f"s3://{bucket}/a", received=arrived.append).content == body
    assert (sum(arrived), len(arrived) > 5) == (len(body), True)


@pytest.fixture
def behind(made: MakeSettings, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Settings for a bucket of a store at a given port, which answers as a test says."""

    def behind(port: int, **changes: Any) -> Settings:
        for name, value in {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_ACCESS_KEY_ID": "test-access-key",
            "AWS_SECRET_ACCESS_KEY": "test-secret-key",
            "AWS_REGION": "us-east-1",
            "AWS_ALLOW_HTTP": "true",
        }.items():
            monkeypatch.setenv(name, value)
        return made(buckets="s3://bucket", **changes)

    return behind


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (400, PermanentError, ErrorCode.UNEXPECTED_STATUS),
        (410, PermanentError, ErrorCode.GONE),
        (429, TransientError, ErrorCode.REMOTE_UNAVAILABLE),
        (500, TransientError, ErrorCode.REMOTE_UNAVAILABLE),
        (503, TransientError, ErrorCode.REMOTE_UNAVAILABLE),
    ],
)
def test_a_status_of_a_store_is_permanent_unless_it_may_pass(
    behind: Any, status: int, kind: type[SusyError], code: ErrorCode
) -> None:
    with web_server() as store:
        store.serve("/bucket/a", b"<Error><Code>SlowDown</Code><Message>hunter2</Message></Error>", status)
        with Sources(behind(store.port)) as sources:
            error = refusal(sources, "s3://bucket/a")
    assert (type(error), error.code) == (kind, code)
    assert len(store.requests) == 1  # the queue repeats attempts


def test_a_store_that_is_down_or_slow_is_transient(behind: Any) -> None:
    def drip(connection: Connection) -> None:
        connection.send(
            b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\nETag: x\r\nLast-Modified: Thu, 26 Nov 2026 05:53:34 GMT\r\n\r\n"
        )
        while True:
            connection.send(b"x")
            time.sleep(0.02)

    with web_server() as store:
        store.answers |= {"/bucket/drip": drip, "/bucket/silent": lambda _: time.sleep(2)}
        for name in ("drip", "silent"):
            began = time.monotonic()
            with Sources(behind(store.port, fetch_timeout=0.5)) as sources:
                error = refusal(sources, f"s3://bucket/{name}")
            assert (type(error), error.code) == (TransientError, ErrorCode.REMOTE_TIMEOUT), name
            assert time.monotonic() - began < 1.5
    with Sources(behind(store.port)) as sources:
        error = refusal(sources, "s3://bucket/a")
    assert (type(error), error.code) == (TransientError, ErrorCode.REMOTE_UNAVAILABLE)


def test_an_unencrypted_store_needs_a_word_of_the_operator(behind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with web_server() as store:
        store.serve("/bucket/a", b"bytes")
        settings = behind(store.port)
        monkeypatch.delenv("AWS_ALLOW_HTTP")
        with Sources(settings) as sources:
            refusal(sources, "s3://bucket/a")
        assert store.requests == []


def test_a_bucket_is_probed_without_an_object(made: MakeSettings, s3: Any, bucket: str, monkeypatch: Any) -> None:
    settings = made(buckets=f"s3://{bucket}/uploads/,s3://no-such-bucket")
    there, missing = settings.buckets
    assert probe(there, Stores(settings), settings) == "reachable"
    with pytest.raises(PermanentError, match="no-such-bucket"):
        probe(missing, Stores(settings), settings)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    with pytest.raises(PermanentError) as caught:
        probe(there, Stores(settings), settings)
    assert caught.value.code is ErrorCode.ACCESS_DENIED


@pytest.mark.parametrize("uri", ["s3://{bucket}/uploads/a%20b", "s3://{bucket}/uploads/ü"])
def test_an_object_is_located_without_a_connection(
    made: MakeSettings, seaweedfs: SeaweedFS, bucket: str, uri: str
) -> None:
    assert locate(uri.format(bucket=bucket), made(buckets=f"s3://{bucket}/uploads")) == uri.format(bucket=bucket)


@pytest.mark.parametrize(
    ("scheme", "variables", "path"),
    [
        (
            "gs",
            {"GOOGLE_BASE_URL": "{}", "GOOGLE_SKIP_SIGNATURE": "true", "GOOGLE_ALLOW_HTTP": "true"},
            "/bucket%2D1/a",
        ),
        (
            "az",
            {
                "AZURE_STORAGE_ACCOUNT_NAME": "account",
                "AZURE_STORAGE_ENDPOINT": "{}",
                "AZURE_SKIP_SIGNATURE": "true",
                "AZURE_ALLOW_HTTP": "true",
            },
            "/bucket-1/a",
        ),
    ],
)
def test_the_other_stores_are_read_by_the_same_library(
    made: MakeSettings, monkeypatch: pytest.MonkeyPatch, scheme: str, variables: dict[str, str], path: str
) -> None:
    modified = {"Last_Modified": "Thu, 26 Nov 2026 05:53:34 GMT", "ETag": '"v1"'}
    with web_server() as store:
        for name, value in variables.items():
            monkeypatch.setenv(name, value.format(f"http://127.0.0.1:{store.port}"))
        with Sources(made(buckets=f"{scheme}://bucket-1")) as sources:
            assert refusal(sources, f"{scheme}://bucket-1/a").code is ErrorCode.NOT_FOUND
            store.serve(path, b"bytes", **modified)
            fetched = sources.read(f"{scheme}://bucket-1/a")
    assert (fetched.content, fetched.etag) == (b"bytes", "v1"), [request.target for request in store.requests]


def test_credentials_that_cannot_be_used_are_told_in_one_line(
    made: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/hunter2")
    with Sources(made(buckets="gs://bucket-1", fetch_timeout=1)) as sources:
        error = refusal(sources, "gs://bucket-1/a")
    assert isinstance(error, TransientError)
    assert "credentials" in error.message
