"""What belongs to no route: unknown paths, unforeseen errors, headers, the access log, imports."""

from __future__ import annotations

import json
import logging
import sys
from typing import Any
from uuid import UUID

import pytest

from tests.support.commands import run
from tests.support.http_service import Client, Service
from tests.support.ledger import submission
from tests.support.waiting import eventually
from worker.errors import ConfigurationError, ErrorCode, PermanentError, SetupError, TransientError
from worker.serve.problems import problem_document, status_of
from worker.store import Store

CHECK = {"source": "avatars", "external_id": "1", "uri": "/images/1.jpg"}


def test_what_is_refused_has_a_code_of_its_own_and_writes_nothing(client: Client, store: Store) -> None:
    json_type = {"Content_Type": "application/json"}
    refusals: list[tuple[int, str, Any, dict[str, str]]] = [
        (415, "unsupported_media_type", b'{"source": "a"}', {"Content_Type": "application/x-www-form-urlencoded"}),
        (400, "invalid_json", b'{"source": ', json_type),
        (400, "invalid_json", b"", json_type),
        (400, "invalid_json", b"\xff\xfe", json_type),
        (400, "invalid_json", b'{"attributes": {"score": NaN}}', json_type),
        (400, "invalid_json", b"[" * 100_000, json_type),
        (422, "invalid_message", [1, 2], {}),
        (422, "invalid_message", "text", {}),
        (422, "invalid_message", CHECK | {"unknown": 1}, {}),
        (422, "invalid_message", CHECK | {"uri": "\x00"}, {}),
        (422, "invalid_message", CHECK | {"attributes": {"x": "y" * 20_000}}, {}),
        (422, "unknown_endpoint", CHECK | {"endpoint": "nowhere"}, {}),
        (413, "too_many_items", [], {}),
        (413, "too_many_items", [CHECK] * 101, {}),
    ]
    for status, code, content, headers in refusals:
        answer = client.post("/v1/checks", content, **headers)
        assert (answer.status, answer.code) == (status, code), (content if len(str(content)) < 200 else "…", answer)
        assert "\n" not in answer.document["detail"]
    assert client.get("/v1/nothing").code == "unknown_route"
    assert (client("DELETE", "/v1/checks").status, client("DELETE", "/v1/checks").code) == (405, "method_not_allowed")
    assert client.get("/v1/checks/no-uuid").code == "invalid_message"
    assert client.get("/v1/checks?source=a").code == "invalid_message"
    assert client.get("/v1/checks?source=a%00&external_id=1").code == "invalid_message"
    assert store.find("avatars", "1") is None


def test_only_a_queued_check_is_cancelled_and_cancelling_is_safe_to_repeat(client: Client, store: Store) -> None:
    waiting = store.submit(submission()).check_id
    for _ in range(2):
        answer = client.post(f"/v1/checks/{waiting}/cancel")
        assert (answer.status, answer.document["state"]) == (200, "cancelled")
    running = store.submit(submission()).check_id
    store.claim(running, worker="w", lease=60, max_attempts=5)
    refused = client.post(f"/v1/checks/{running}/cancel")
    assert (refused.status, refused.code) == (409, "not_cancellable")


def test_an_unforeseen_error_is_a_problem_that_tells_nothing(
    client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_arguments: object, **_options: object) -> None:
        raise ZeroDivisionError("secret-host")

    monkeypatch.setattr(Store, "show", broken)
    answer = client.get(f"/v1/checks/{UUID(int=1)}")
    assert (answer.status, answer.code) == (500, "unexpected")
    assert b"secret-host" not in answer.body
    eventually(lambda: "ZeroDivisionError" in caplog.text, 10)


def test_each_kind_of_error_has_a_status() -> None:
    assert status_of(PermanentError(ErrorCode.CORRUPT, "x")) == 422
    assert status_of(TransientError(ErrorCode.DATABASE_UNAVAILABLE, "x")) == 503
    assert status_of(SetupError(ErrorCode.DEVICE_UNAVAILABLE, "x")) == 500
    assert status_of(ConfigurationError(ErrorCode.MISSING_EXTRA, "x")) == 501
    assert "host" not in problem_document(TransientError(ErrorCode.DATABASE_UNAVAILABLE, "at host"))["detail"]


def test_answers_are_not_cached_and_not_sniffed(client: Client) -> None:
    for path in ("/healthz", "/v1/events", "/v1/nothing"):
        headers = client.get(path).headers
        assert (headers["cache-control"], headers["x-content-type-options"]) == ("no-store", "nosniff")
        assert "server" not in headers


def test_the_access_log_names_check_key_and_code_and_never_a_key_or_a_query(
    client: Client, key: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "susy.access")
    accepted = client.post("/v1/checks", CHECK).document["check_id"]
    client.post("/v1/checks", [CHECK, {"source": "chat"}])
    client.get("/v1/checks?source=avatars&external_id=private")
    client.get("/v1/checks/%1b%5B2J?token=private")
    client.get("/healthz")
    lines = [record.__dict__ for record in caplog.records if record.name == "susy.access"]
    assert [(line["method"], line["status"]) for line in lines] == [
        ("POST", 202), ("POST", 200), ("GET", 404), ("GET", 422),
    ]  # fmt: skip
    assert [line.get("key") for line in lines] == ["hooks", "hooks", "hooks", "hooks"]
    assert lines[0]["check_id"] == accepted
    assert (lines[1]["items"], lines[1]["refused"], lines[1]["check_ids"]) == (2, 1, [accepted])
    assert lines[1]["codes"] == ["invalid_message"]
    assert lines[3]["path"] == "/v1/checks/\\x1b[2J"
    printed = json.dumps([{name: str(value) for name, value in line.items()} for line in lines])
    assert "private" not in printed
    assert key not in printed


def test_the_service_imports_neither_torch_nor_celery(service: Service) -> None:
    program = (
        "import sys, worker.serve.server\n"
        "print(sorted({'torch', 'celery', 'kombu', 'scipy', 'safetensors', 'PIL'} & set(sys.modules)))"
    )
    result = run(sys.executable, "-c", program)
    assert (result.code, result.stdout.strip()) == (0, "[]"), result.stderr
