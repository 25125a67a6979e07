"""Who is let in: keys, their scopes and sources, and how soon a revoked one is refused."""

from __future__ import annotations

import time
from typing import Any
from uuid import uuid4

import pytest

from schema.access import Scope
from tests.support.databases import Sql
from tests.support.http_service import Client, Service
from tests.support.ledger import done
from tests.support.waiting import eventually
from worker.serve.shared.keyring import KeyRing
from worker.store import Store
from worker.store.keys import new_key

CHECK = {"source": "avatars", "uri": "/images/1.jpg"}
SOME_ID = uuid4()
CLAIMS = "/v1/reviews/claims"
HOLDER = {"moderator": "ada"}
REVIEW = {"reviewer": "ada", "decision": "authentic"}
ROUTES: list[tuple[str, str, Any, Scope]] = [
    ("POST", "/v1/checks", CHECK, Scope.SUBMIT),
    ("POST", f"/v1/checks/{SOME_ID}/cancel", {}, Scope.SUBMIT),
    ("GET", f"/v1/checks/{SOME_ID}", None, Scope.READ),
    ("GET", "/v1/checks?source=avatars&external_id=1", None, Scope.READ),
    ("GET", f"/v1/checks/{SOME_ID}/map.png", None, Scope.READ),
    ("GET", f"/v1/checks/{SOME_ID}/map.json", None, Scope.READ),
    ("GET", f"/v1/checks/{SOME_ID}/overlay.png", None, Scope.READ),
    ("GET", "/v1/events", None, Scope.READ),
    ("POST", f"/v1/checks/{SOME_ID}/reviews", REVIEW, Scope.REVIEW),
    ("POST", f"/v1/reviews/{SOME_ID}/undo", {"reviewer": "ada", "reason": "x"}, Scope.REVIEW),
    ("POST", CLAIMS, HOLDER, Scope.REVIEW),
    ("GET", f"{CLAIMS}?moderator=ada", None, Scope.REVIEW),
    ("POST", f"{CLAIMS}/{SOME_ID}/decide", HOLDER | {"decision": "authentic"}, Scope.REVIEW),
    ("POST", f"{CLAIMS}/{SOME_ID}/extend", HOLDER, Scope.REVIEW),
    ("POST", f"{CLAIMS}/{SOME_ID}/skip", HOLDER | {"reason": "x"}, Scope.REVIEW),
    ("POST", f"{CLAIMS}/{SOME_ID}/release", HOLDER, Scope.REVIEW),
    ("GET", f"{CLAIMS}/{SOME_ID}/map.png?moderator=ada", None, Scope.REVIEW),
    ("GET", f"{CLAIMS}/{SOME_ID}/map.json?moderator=ada", None, Scope.REVIEW),
    ("GET", f"{CLAIMS}/{SOME_ID}/overlay.png?moderator=ada", None, Scope.REVIEW),
    ("POST", "/v1/reviews/bulk", REVIEW | {"filters": {"source": "nobody"}}, Scope.SUPERVISE),
    ("POST", "/v1/reviews/undos", {"target": str(SOME_ID), "by": "ada", "reason": "x"}, Scope.SUPERVISE),
    ("GET", f"/v1/checks/{SOME_ID}/reviews", None, Scope.SUPERVISE),
    ("GET", "/v1/reviews/agreement", None, Scope.SUPERVISE),
    ("GET", "/v1/reviews/accuracy", None, Scope.SUPERVISE),
]
UNKNOWN = (None, "unknown_check", "unknown_review", "claim_ended")


def checks(run: Sql) -> int:
    number: int = run("SELECT count(*) FROM susy.checks")[0][0]
    return number


def test_no_route_is_open_and_each_needs_its_scope(service: Service, store: Store, run: Sql) -> None:
    holders = {scope: service.client(store.keys.add(scope, [scope])) for scope in Scope}
    nobody = service.client()
    guesser = service.client(new_key())
    for method, path, content, scope in ROUTES:
        refused = nobody(method, path, content)
        assert (refused.status, refused.code) == (401, "no_credentials"), path
        assert refused.headers["www-authenticate"].startswith("Bearer")
        assert guesser(method, path, content).code == "unknown_key", path
        assert nobody(method, path, content, Authorization="Basic c3VzeTpzdXN5").code == "no_credentials"
        for holder, client in holders.items():
            answer = client(method, path, content)
            if holder in (scope, Scope.ADMIN):
                assert answer.code in UNKNOWN, (path, holder, answer)
            else:
                assert (answer.status, answer.code) == (403, "missing_scope"), (path, holder)
    assert checks(run) == 2


def test_a_key_of_one_source_submits_and_reads_that_source_alone(service: Service, store: Store, run: Sql) -> None:
    client = service.client(store.keys.add("chat", [Scope.SUBMIT, Scope.READ], sources=["chat"]))
    other = done(store, external_id="9").check_id
    refused = client.post("/v1/checks", CHECK)
    assert (refused.status, refused.code) == (403, "forbidden_source")
    listed = client.post("/v1/checks", [CHECK, CHECK | {"source": "chat"}]).document
    assert [item["status"] for item in listed["items"]] == [403, 202]
    assert checks(run) == 2
    for path in (
        f"/v1/checks/{other}",
        f"/v1/checks/{other}/map.png",
        f"/v1/checks/{other}/map.json",
        "/v1/checks?source=avatars&external_id=9",
    ):
        assert client.get(path).code == "unknown_check", path
    assert client.post(f"/v1/checks/{other}/cancel").code == "unknown_check"
    assert client.get("/v1/events").document["events"] == []


def test_a_revoked_key_is_refused_within_ten_seconds_by_a_service_that_uses_it(client: Client, store: Store) -> None:
    assert client.post("/v1/checks", CHECK).status == 202
    store.keys.revoke("hooks")
    revoked_at = time.monotonic()
    eventually(lambda: client.get("/v1/events").code == "revoked_key", 10)
    assert time.monotonic() - revoked_at < 10


def test_an_expired_key_is_refused(service: Service, store: Store, run: Sql) -> None:
    client = service.client(store.keys.add("short", [Scope.READ], lifetime=3600))
    assert client.get("/v1/events").status == 200
    run("UPDATE susy.api_keys SET expires_at = now() - interval '1 second'")
    eventually(lambda: client.get("/v1/events").code == "expired_key", 10)


def test_a_key_that_was_just_created_is_let_in_and_its_use_is_noted(service: Service, store: Store) -> None:
    for number in range(3):  # the service has read the keys a moment ago
        assert service.client(store.keys.add(f"new-{number}", [Scope.READ])).get("/v1/events").status == 200
    service.client().get("/readyz")  # reads the keys again
    assert all(key.last_used_at for key in store.keys.all())


def test_guesses_cost_few_queries(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    readings: list[float] = []
    original = KeyRing._read_table

    def counted(ring: KeyRing, used: Any) -> Any:
        readings.append(time.monotonic())
        return original(ring, used)

    monkeypatch.setattr(KeyRing, "_read_table", counted)
    began = time.monotonic()
    for _ in range(20):
        assert service.client(new_key()).get("/v1/events").code == "unknown_key"
    assert len(readings) <= (time.monotonic() - began) / 0.1 + 2


def test_a_database_without_the_table_of_keys_lets_nobody_in(client: Client, run: Sql) -> None:
    assert client.get("/v1/events").status == 200
    run("ALTER TABLE susy.api_keys RENAME TO moved")
    probe = client.get("/readyz")
    assert (probe.status, probe.code) == (503, "database_outdated")
    assert client.get("/healthz").status == 200
    eventually(lambda: client.get("/v1/events").code == "database_outdated", 12)
    run("ALTER TABLE susy.moved RENAME TO api_keys")
    eventually(lambda: client.get("/v1/events").status == 200, 10)
