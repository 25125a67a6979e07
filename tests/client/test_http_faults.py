"""The client over HTTP, before a server that answers what a test tells it to: what is repeated, and what is raised."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.faulty_proxy import Exchange, Fault, FaultyProxy, faulty_proxy
from tests.support.servers import free_port
from worker.client import Client
from worker.errors import ConfigurationError, ErrorCode, PermanentError, SusyError, TransientError

CHECK_ID = "01890a5d-ac96-774b-bcce-b302099a8057"
ACCEPTED = json.dumps({"check_id": CHECK_ID, "created": True}).encode()


@pytest.fixture
def server() -> Iterator[FaultyProxy]:
    """A server all of whose answers are faults."""
    with faulty_proxy("http://127.0.0.1:9") as proxy:
        yield proxy


def client(server: FaultyProxy, **options: Any) -> Client:
    return Client(url=server.url, api_key="susy_key", **{"timeout": 3.0, **options})


def accepts(exchange: Exchange) -> bool:
    return exchange.answer(202, ACCEPTED, Content_Type="application/json")


def problem(status: int, code: str, **headers: str) -> Fault:
    document = {"type": "about:blank", "title": "x", "status": status, "detail": f"why {code}", "code": code}
    body = json.dumps(document).encode()
    return lambda exchange: exchange.answer(status, body, Content_Type="application/problem+json", **headers)


def submit(client: Client, **changes: Any) -> str:
    return str(client.submit(**{"source": "avatars", "uri": "/images/1.jpg", **changes}).check_id)


@pytest.mark.parametrize(
    "fault",
    [
        lambda exchange: exchange.reset(),
        problem(503, "database_unavailable", Retry_After="0"),
        problem(429, "backlog_full", Retry_After="0"),
        lambda exchange: exchange.answer(502, b"<html>", Content_Type="text/html"),
        lambda exchange: exchange.answer(504),
    ],
    ids=["reset", "503", "429", "502 of a proxy", "504 without a body"],
)
def test_a_fault_that_passes_is_not_seen_and_the_request_is_the_same(server: FaultyProxy, fault: Fault) -> None:
    seen: list[Exchange] = []

    def keep(then: Fault) -> Fault:
        return lambda exchange: (seen.append(exchange), then(exchange))[1]

    server.faults = [keep(fault), keep(fault), keep(accepts)]
    with client(server) as ours:
        assert submit(ours) == CHECK_ID
    assert len({exchange.headers["idempotency-key"] for exchange in seen}) == 1
    assert len({exchange.body for exchange in seen}) == 1
    assert len(seen) == 3


def test_every_submission_has_a_key_of_its_own_unless_its_external_id_is_one(server: FaultyProxy) -> None:
    keys: list[str | None] = []

    def keep(exchange: Exchange) -> bool:
        keys.append(exchange.headers.get("idempotency-key"))
        return accepts(exchange)

    server.faults = [keep, keep, keep]
    with client(server) as ours:
        submit(ours)
        submit(ours)
        submit(ours, external_id="upload-1")
    assert keys[0] != keys[1]
    assert keys[2] is None


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (409, "conflict", PermanentError),
        (422, "invalid_message", PermanentError),
        (401, "database_outdated", PermanentError),
        (403, "unknown_policy", PermanentError),
        (500, "unexpected", TransientError),
    ],
)
def test_a_refusal_is_raised_at_once_with_the_services_code(
    server: FaultyProxy, status: int, code: str, kind: type[SusyError]
) -> None:
    server.faults = [problem(status, code), accepts]
    with client(server) as ours, pytest.raises(kind) as refused:
        submit(ours)
    assert (refused.value.code, refused.value.message) == (code, f"why {code}")
    assert server.faults == [accepts]


def test_a_code_of_a_newer_service_is_named(server: FaultyProxy) -> None:
    server.faults = [problem(422, "not_invented_yet")]
    with client(server) as ours, pytest.raises(PermanentError, match="not_invented_yet: why") as refused:
        submit(ours)
    assert refused.value.code is ErrorCode.UNEXPECTED


@pytest.mark.parametrize(
    "answer",
    [
        lambda exchange: exchange.answer(200, b"<html>", Content_Type="text/html"),
        lambda exchange: exchange.answer(404, b"<html>", Content_Type="text/html"),
        lambda exchange: exchange.answer(301, Location="https://elsewhere.example.org/"),
        lambda exchange: exchange.answer(200, b'{"check_id": 7, "created": true}', Content_Type="application/json"),
        lambda exchange: exchange.answer(200, b"[" * 100_000, Content_Type="application/json"),
        lambda exchange: exchange.answer(200, b" " * 1_000_001, Content_Type="application/json"),
    ],
    ids=["200 html", "404 html", "redirect", "no id", "deep", "large"],
)
def test_an_address_that_is_no_service_is_told_as_such(server: FaultyProxy, answer: Fault) -> None:
    server.faults = [answer, accepts]
    with client(server) as ours, pytest.raises(PermanentError, match="SUSY_URL") as refused:
        submit(ours)
    assert refused.value.code is ErrorCode.UNEXPECTED
    assert server.faults == [accepts], "neither repeated nor followed"


@pytest.mark.parametrize(
    "fault",
    [
        lambda exchange: exchange.drip(20),
        lambda exchange: (time.sleep(1), exchange.reset())[1],
        problem(503, "overloaded", Retry_After="60"),
        problem(503, "overloaded", Retry_After="Fri, 31 Dec 2100 23:59:59 GMT"),
    ],
    ids=["a byte every tenth of a second", "silence", "later than the deadline", "a date in another century"],
)
def test_the_deadline_is_that_of_the_whole_call(server: FaultyProxy, fault: Fault) -> None:
    server.faults = [fault] * 50
    with client(server, timeout=0.5) as ours:
        began = time.monotonic()
        with pytest.raises(TransientError):
            submit(ours)
        assert time.monotonic() - began < 1.0


def test_nobody_listening_is_unavailable_within_the_deadline() -> None:
    with Client(url=f"http://127.0.0.1:{free_port()}", api_key="susy_key", timeout=0.5) as ours:
        began = time.monotonic()
        with pytest.raises(TransientError, match="Connection refused") as refused:
            submit(ours)
    assert refused.value.code is ErrorCode.SERVICE_UNAVAILABLE
    assert time.monotonic() - began < 1
    assert "susy_key" not in str(refused.value)


def test_one_connection_serves_many_calls(server: FaultyProxy) -> None:
    server.faults = [accepts] * 20
    with client(server) as ours:
        for _ in range(20):
            submit(ours)
    assert server.connections == 1


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("susy.example.org", "https://"),
        ("ftp://susy.example.org", "https://"),
        ("https://user:secret@susy.example.org", "SUSY_API_KEY"),
        ("https://susy.example.org/?key=secret", "query"),
        ("https://susy.example.org:port", "valid"),
        ("https://[::1", "valid"),
        ("https://sus y.example.org", "spaces"),
    ],
)
def test_an_address_that_cannot_be_one_is_refused_without_repeating_it(url: str, why: str) -> None:
    with pytest.raises(ConfigurationError, match=why) as refused:
        Client(url=url, api_key="susy_key")
    assert refused.value.code is ErrorCode.SETTINGS
    assert "secret" not in refused.value.message


@pytest.mark.parametrize("key", [None, "", "two words", "a\nb", "schlüssel"])
def test_a_key_that_cannot_be_one_is_refused_without_repeating_it(key: str | None) -> None:
    with pytest.raises(ConfigurationError, match="SUSY_API_KEY") as refused:
        Client(url="https://susy.example.org", api_key=key)
    assert not key or key not in refused.value.message
