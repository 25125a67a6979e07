"""Attempts whose image lies in a bucket or behind a URL: real servers, a real worker's runtime."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from schema.messages import Submission
from schema.states import CheckState
from tests.support.seaweedfs import SeaweedFS
from tests.support.waiting import eventually
from tests.support.web import Authority, Connection, WebServer, web_server
from worker.callbacks.payload import event_document
from worker.detector.detector import Detector
from worker.errors import ErrorCode
from worker.pipeline.overlay import draw_overlay
from worker.queue.attempt import attempt
from worker.queue.runtime import Runtime, start_runtime
from worker.settings import Settings
from worker.store import CheckDetails

Check = Callable[..., CheckDetails]


@pytest.fixture(scope="module")
def web(authority: Authority) -> Iterator[WebServer]:
    """An HTTPS server whose certificate is valid for its address."""
    with web_server(authority, "127.0.0.1") as server:
        yield server


@pytest.fixture
def runtime(
    settings: Settings,
    one_detector: Detector,
    seaweedfs: SeaweedFS,
    bucket: str,
    web: WebServer,
    authority: Authority,
    monkeypatch: Any,
) -> Iterator[Runtime]:
    for name, value in seaweedfs.environment.items():
        monkeypatch.setenv(name, value)
    variables = settings.environment() | {
        "SUSY_BUCKETS": f"s3://{bucket}/uploads/",
        "SUSY_URL_HOSTS": "127.0.0.1",
        "SUSY_URL_NETWORKS": "127.0.0.0/8",
        "SUSY_URL_PORTS": str(web.port),
        "SUSY_CA_FILE": str(authority.ca_file),
        "SUSY_FETCH_TIMEOUT": "5s",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    runtime = start_runtime(Settings())
    yield runtime
    runtime.close()


@pytest.fixture
def check(runtime: Runtime) -> Check:
    """Submit an image, make one attempt, and return what the ledger holds then."""

    def check(uri: str, **fields: Any) -> CheckDetails:
        receipt = runtime.store.submit(Submission(source="uploads", uri=uri, **fields))
        attempt(receipt.check_id, runtime)
        return runtime.store.show(receipt.check_id)

    return check


def test_an_object_is_examined_and_its_version_kept(
    check: Check, seaweedfs: SeaweedFS, bucket: str, images: Path, settings: Settings, runtime: Runtime
) -> None:
    s3, image = seaweedfs.client(), (images / "a.png").read_bytes()
    etag = s3.put_object(Bucket=bucket, Key="uploads/a b.png", Body=image)["ETag"]
    view = check(f"s3://{bucket}/uploads/a b.png", etag=etag)
    assert (view.state, view.attempts, view.source_changed) == (CheckState.DONE, 1, False)
    assert view.etag == view.fetched_etag == etag.strip('"')
    assert draw_overlay(view, runtime.settings, runtime.examiner.memory).startswith(b"\x89PNG")
    unknown = check(f"s3://{bucket}/uploads/a b.png")
    assert (unknown.etag, unknown.fetched_etag, unknown.source_changed) == (None, etag.strip('"'), None)


def test_an_object_that_changed_since_it_was_submitted_is_examined_and_noted(
    check: Check, runtime: Runtime, seaweedfs: SeaweedFS, bucket: str, images: Path, database_url: str
) -> None:
    s3 = seaweedfs.client()
    submitted = s3.put_object(Bucket=bucket, Key="uploads/a", Body=(images / "a.png").read_bytes())["ETag"]
    s3.put_object(Bucket=bucket, Key="uploads/a", Body=(images / "b.png").read_bytes())
    view = check(f"s3://{bucket}/uploads/a", etag=submitted)
    assert view.scan is not None
    assert (view.state, view.source_changed, view.scan.width) == (CheckState.DONE, True, 500)
    with psycopg.connect(database_url) as connection:
        columns = "etag, fetched_etag, fetched_version_id, source_changed"
        query = f"SELECT {columns} FROM dashboard.checks WHERE id = %s"
        found = connection.execute(query, [view.check_id]).fetchone()  # type: ignore[arg-type]
    assert found == (submitted.strip('"'), view.fetched_etag, None, True)
    [event] = runtime.store.events_after(0, limit=10)
    assert event_document(event)["data"]["source_changed"] is True


def test_a_version_is_examined_that_was_replaced_or_deleted_since(
    check: Check, seaweedfs: SeaweedFS, bucket: str, images: Path
) -> None:
    s3 = seaweedfs.client()
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    first = s3.put_object(Bucket=bucket, Key="uploads/a", Body=(images / "a.png").read_bytes())
    s3.put_object(Bucket=bucket, Key="uploads/a", Body=(images / "b.png").read_bytes())
    s3.delete_object(Bucket=bucket, Key="uploads/a")
    view = check(f"s3://{bucket}/uploads/a", etag=first["ETag"], version_id=first["VersionId"])
    assert view.scan is not None
    assert (view.state, view.source_changed, view.scan.width) == (CheckState.DONE, False, 300)
    assert view.fetched_version_id == first["VersionId"]


def test_an_object_that_is_gone_is_quarantined_at_once(check: Check, bucket: str) -> None:
    for uri, code in (
        (f"s3://{bucket}/uploads/missing", ErrorCode.NOT_FOUND),
        (f"s3://{bucket}/private/a", ErrorCode.BUCKET_REFUSED),
        (f"gs://{bucket}/uploads/a", ErrorCode.BUCKET_REFUSED),
        ("http://127.0.0.1/a", ErrorCode.SCHEME_REFUSED),
        ("https://169.254.169.254/latest/meta-data/", ErrorCode.PORT_REFUSED),
    ):
        view = check(uri)
        assert view.error is not None
        assert (view.state, view.attempts, view.error.code) == (CheckState.QUARANTINED, 1, code), uri


def test_an_image_behind_a_url_is_examined_whatever_its_type_says(check: Check, web: WebServer, images: Path) -> None:
    body = (images / "a.png").read_bytes()
    url = web.serve("/a", body, ETag='"v2"', content_type="text/html").replace("images.test", "127.0.0.1")
    view = check(f"{url}?signature=hunter2", etag="v1")
    assert (view.state, view.fetched_etag, view.source_changed) == (CheckState.DONE, "v2", True)
    page = web.serve("/b", b"<html>", content_type="image/png").replace("images.test", "127.0.0.1")
    view = check(f"{page}?signature=hunter2")
    assert view.error is not None
    assert (view.state, view.error.code) == (CheckState.QUARANTINED, "unsupported_format")


def test_a_server_that_asks_for_a_wait_is_given_it(check: Check, web: WebServer) -> None:
    url = web.serve("/a", status=503, Retry_After="60").replace("images.test", "127.0.0.1")
    view = check(f"{url}?signature=hunter2")
    assert view.error is not None
    assert (view.state, view.error.code) == (CheckState.QUEUED, "remote_unavailable")
    assert "hunter2" not in view.error.message
    assert (view.next_attempt_at - view.created_at).total_seconds() > 55


def test_other_checks_are_examined_while_a_server_is_slow(
    check: Check, runtime: Runtime, web: WebServer, images: Path
) -> None:
    """The waiting attempt holds its bytes in the budget, and neither the network nor the hard deadline."""
    begun, released = threading.Event(), threading.Event()
    body = (images / "b.png").read_bytes()

    def slow(connection: Connection) -> None:
        connection.send(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body[:100_000])
        begun.set()
        released.wait(4)
        connection.send(body[100_000:])

    web.answers["/slow"] = slow
    seen: list[CheckDetails] = []
    waiting = threading.Thread(target=lambda: seen.append(check(f"https://127.0.0.1:{web.port}/slow")))
    waiting.start()
    assert begun.wait(5)
    assert check(str(images / "a.png")).state is CheckState.DONE
    eventually(lambda: runtime.examiner.memory.used == 100_000, 5)
    released.set()
    waiting.join()
    assert [view.state for view in seen] == [CheckState.DONE]
    assert runtime.examiner.memory.used == 0


def test_a_server_that_is_too_slow_ends_the_attempt_before_the_hard_deadline(
    check: Check, runtime: Runtime, web: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()
    web.answers["/never"] = lambda _: released.wait(10)  # type: ignore[assignment]
    object.__setattr__(runtime.sources._urls, "_settings", runtime.settings.model_copy(update={"fetch_timeout": 0.3}))
    view = check(f"https://127.0.0.1:{web.port}/never")
    released.set()
    assert view.error is not None
    assert (view.state, view.error.code) == (CheckState.QUEUED, "remote_timeout")
