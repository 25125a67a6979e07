"""`/v1/images`: what is stored and submitted, and that nothing is left of what is refused or cut."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from schema.access import Scope
from tests.support.databases import Sql
from tests.support.http_service import Answer, Client, Service
from tests.support.waiting import eventually
from worker.errors import ErrorCode, PermanentError
from worker.sources import storage as storage_module
from worker.store import Store

MAX_BYTES = 300_000
IMAGE = b"\xff\xd8\xff" + bytes(range(256)) * 40
OCTETS = {"Content_Type": "application/octet-stream"}
COUNT = "SELECT count(*) FROM susy.checks"
BOUNDARY = "----a-boundary"


@pytest.fixture
def folder(images: Path) -> Path:
    """The storage, under a root of the images."""
    return images / "storage"


@pytest.fixture
def serve_changes(folder: Path) -> dict[str, object]:
    return {"storage": str(folder), "max_bytes": MAX_BYTES}


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def form(*parts: tuple[str, bytes, str | None], boundary: str = BOUNDARY, end: bool = True) -> bytes:
    """Name, content and file name of each part."""
    lines = b""
    for name, content, filename in parts:
        disposition = f'form-data; name="{name}"' + (f'; filename="{filename}"' if filename is not None else "")
        lines += f"--{boundary}\r\nContent-Disposition: {disposition}\r\n\r\n".encode() + content + b"\r\n"
    return lines + (f"--{boundary}--\r\n".encode() if end else b"")


def post_form(client: Client, body: bytes, query: str = "", boundary: str = BOUNDARY) -> Answer:
    return client.post(f"/v1/images{query}", body, Content_Type=f'multipart/form-data; boundary="{boundary}"')


def test_a_body_is_stored_under_its_digest_and_submitted(client: Client, store: Store, folder: Path) -> None:
    answer = client.post("/v1/images?source=avatars&external_id=u-1&attributes=%7B%22n%22%3A1%7D", IMAGE, **OCTETS)
    assert (answer.status, answer.document["created"]) == (202, True)
    [stored] = files(folder)
    assert hashlib.sha256(IMAGE).hexdigest() in stored.name
    assert stored.read_bytes() == IMAGE
    check = store.show(answer.document["check_id"])
    assert (check.source, check.external_id, check.attributes) == ("avatars", "u-1", {"n": 1})
    assert (check.uri, answer.document["uri"]) == (str(stored), str(stored))
    assert answer.headers["location"] == f"/v1/checks/{check.check_id}"


@pytest.mark.parametrize("order", [0, 1], ids=["fields first", "image first"])
def test_a_form_is_the_same_in_any_order(client: Client, store: Store, folder: Path, order: int) -> None:
    parts: list[tuple[str, bytes, str | None]] = [
        ("source", b"avatars", None), ("external_id", "ä-1".encode(), None), ("image", IMAGE, "a.jpg"),
    ]  # fmt: skip
    answer = post_form(client, form(*(parts if order == 0 else parts[::-1])))
    assert answer.status == 202, answer.document
    assert store.show(answer.document["check_id"]).external_id == "ä-1"
    assert [path.read_bytes() for path in files(folder)] == [IMAGE]


def test_the_same_image_is_stored_once_and_the_same_id_accepted_once(client: Client, run: Sql, folder: Path) -> None:
    first = client.post("/v1/images?source=avatars&external_id=u-1", IMAGE, **OCTETS)
    again = client.post("/v1/images?source=avatars&external_id=u-1", IMAGE, **OCTETS)
    other = client.post("/v1/images?source=avatars&external_id=u-2", IMAGE, **OCTETS)
    conflict = client.post("/v1/images?source=avatars&external_id=u-1", IMAGE + b"x", **OCTETS)
    assert [answer.status for answer in (first, again, other, conflict)] == [202, 200, 202, 409]
    assert again.document == first.document | {"created": False}
    assert conflict.code == "conflict"
    assert len(files(folder)) == 1, "nothing is written for what is refused"
    assert run(COUNT) == [(2,)]


def test_an_idempotency_key_makes_an_upload_without_an_id_safe_to_repeat(client: Client, run: Sql) -> None:
    answers = [client.post("/v1/images?source=avatars", IMAGE, **OCTETS, Idempotency_Key="k-1") for _ in range(2)]
    assert [answer.status for answer in answers] == [202, 200]
    assert run("SELECT external_id FROM susy.checks") == [("request:k-1",)]


Part = tuple[str, bytes, str | None]
SOURCE: Part = ("source", b"a", None)
PART: Part = ("image", IMAGE, "a.jpg")
LARGE = b"x" * (MAX_BYTES + 1)

REFUSED_BODIES: list[tuple[str, bytes, str, int, str]] = [
    ("source=a", b"", "image/png", 422, "no_image"),
    ("source=a", LARGE, "image/png", 413, "too_many_bytes"),
    ("source=a", b"hello", "text/plain", 415, "unsupported_media_type"),
    ("source=a", b"{}", "application/json", 415, "unsupported_media_type"),
    ("source=a", IMAGE, "", 415, "unsupported_media_type"),
    ("", IMAGE, "image/png", 422, "invalid_message"),
    ("source=a&source=b", IMAGE, "image/png", 422, "invalid_message"),
    ("source=a&lane=fast", IMAGE, "image/png", 422, "invalid_message"),
    ("source=a&expires_at=soon", IMAGE, "image/png", 422, "invalid_message"),
    ("source=a&attributes=%7B", IMAGE, "image/png", 422, "invalid_message"),
    ("source=a&attributes=" + "[" * 9000, IMAGE, "image/png", 422, "invalid_message"),
    ("", b"x", "multipart/form-data", 400, "invalid_multipart"),
    ("", b"x", f"multipart/form-data; boundary={'b' * 300}", 400, "invalid_multipart"),
]
"""Query, body, content type."""
REFUSED_FORMS: list[tuple[list[Part], dict[str, Any], int, str]] = [
    ([SOURCE, PART], {"boundary": "other"}, 400, "invalid_multipart"),
    ([SOURCE, PART], {"end": False}, 400, "invalid_multipart"),
    ([SOURCE], {}, 422, "no_image"),
    ([SOURCE, ("image", b"", "a.jpg")], {}, 422, "no_image"),
    ([SOURCE, ("image", LARGE, "a.jpg")], {}, 413, "too_many_bytes"),
    ([SOURCE, PART, PART], {}, 413, "too_many_items"),
    ([SOURCE, SOURCE, PART], {}, 422, "invalid_message"),
    ([SOURCE, ("colour", b"b", None), PART], {}, 422, "invalid_message"),
    ([SOURCE, ("uri", b"/etc/passwd", None), PART], {}, 422, "invalid_message"),
    ([("source", b"\xff", None), PART], {}, 422, "invalid_message"),
    ([SOURCE, ("attributes", b" " * 70_000, None), PART], {}, 422, "invalid_message"),
    ([*((f"f{number}", b"", None) for number in range(30)), PART], {}, 422, "invalid_message"),
]


def test_what_is_refused_has_its_code_and_leaves_nothing(client: Client, run: Sql, folder: Path) -> None:
    for query, body, content_type, status, code in REFUSED_BODIES:
        answer = client.post(f"/v1/images?{query}", body, Content_Type=content_type)
        assert (answer.status, answer.code) == (status, code), (query, content_type, answer.body)
    for parts, options, status, code in REFUSED_FORMS:
        answer = post_form(client, form(*parts, **options))
        assert (answer.status, answer.code) == (status, code), (parts, answer.body)
    answer = post_form(client, form(SOURCE, PART), "?source=a")
    assert answer.code == "invalid_message", "said twice"
    assert client.post("/v1/images?source=a", IMAGE, key="susy_unknown", **OCTETS).code == "unknown_key"
    assert run(COUNT) == [(0,)]
    assert files(folder) == []


def test_a_body_that_is_declared_too_large_is_refused_before_it_is_sent(service: Service, key: str) -> None:
    head = (
        f"POST /v1/images?source=a HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: image/jpeg\r\nContent-Length: {MAX_BYTES + 1_000_001}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", service.port)) as connection:
        connection.sendall(head.encode())
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    assert answer.startswith(b"HTTP/1.1 413")
    assert b'"too_large"' in answer


def test_a_key_of_other_sources_and_one_that_only_reads_store_nothing(
    service: Service, store: Store, folder: Path
) -> None:
    other = service.client(store.keys.add("other", [Scope.SUBMIT], sources=["chat"]))
    reader = service.client(store.keys.add("reader", [Scope.READ]))
    answers = [sender.post("/v1/images?source=avatars", IMAGE, **OCTETS) for sender in (other, reader)]
    form_answer = post_form(other, form(("image", IMAGE, "a"), ("source", b"avatars", None)))
    assert [answer.code for answer in (*answers, form_answer)] == [
        "forbidden_source",
        "missing_scope",
        "forbidden_source",
    ]
    assert files(folder) == []


@pytest.mark.parametrize("chunked", [False, True], ids=["declared length", "chunked"])
def test_a_cut_connection_leaves_no_file_and_no_check(
    service: Service, key: str, run: Sql, folder: Path, chunked: bool
) -> None:
    head = (
        f"POST /v1/images?source=avatars HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
        "Content-Type: image/jpeg\r\n" + ("Transfer-Encoding: chunked" if chunked else f"Content-Length: {MAX_BYTES}")
    )
    half = b"x" * (MAX_BYTES // 2)
    with socket.create_connection(("127.0.0.1", service.port)) as connection:
        connection.sendall(f"{head}\r\n\r\n".encode())
        connection.sendall(b"%x\r\n%s\r\n" % (len(half), half) if chunked else half)
        eventually(lambda: files(folder), 10)
    eventually(lambda: not files(folder), 10)
    assert run(COUNT) == [(0,)]


def test_a_full_disk_has_its_code_and_leaves_nothing(
    client: Client, run: Sql, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise PermanentError(ErrorCode.DISK_FULL, "the storage is full")

    monkeypatch.setattr(storage_module.FolderUpload, "write", full)
    answer = client.post("/v1/images?source=avatars", IMAGE, **OCTETS)
    assert (answer.status, answer.code) == (507, "disk_full")
    assert run(COUNT) == [(0,)]
    assert files(folder) == []


def test_uploads_side_by_side_are_each_stored_whole(client: Client, run: Sql, folder: Path) -> None:
    images = [uuid4().bytes * 9000 for _ in range(12)]
    statuses: list[int] = []

    def send(number: int) -> None:
        statuses.append(client.post(f"/v1/images?source=a&external_id={number}", images[number], **OCTETS).status)

    threads = [threading.Thread(target=send, args=(number,)) for number in range(len(images))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [202] * 12
    assert sorted(path.read_bytes() for path in files(folder)) == sorted(images)
    for external_id, uri in run("SELECT external_id, uri FROM susy.checks"):
        assert Path(uri).read_bytes() == images[int(external_id)]


class TestWithoutStorage:
    @pytest.fixture
    def serve_changes(self) -> dict[str, object]:
        return {}

    def test_it_says_what_to_set(self, client: Client) -> None:
        answer = client.post("/v1/images?source=avatars", IMAGE, **OCTETS)
        assert (answer.status, answer.code) == (501, "no_storage")
        assert "SUSY_STORAGE" in answer.document["detail"]


def test_openapi_describes_what_the_routes_answer(client: Client) -> None:
    paths: dict[str, Any] = json.loads(client.get("/openapi.json").body)["paths"]
    for path in ("/v1/images", "/v1/gate", "/v1/gate/pict-rs"):
        answers = paths[path]["post"]["responses"]
        assert {"200", "401", "413", "415", "422", "501", "507"} <= answers.keys(), path
