"""`/v1/hooks`: every sender as it authenticates itself, and what is answered."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import standardwebhooks

from schema.access import Scope
from tests.hooks.payloads import (
    S3_TEST,
    Topic,
    cloudevent,
    eventbridge,
    minio,
    s3,
    s3_record,
    tusd,
)
from tests.support.databases import Sql
from tests.support.http_service import Answer, Client, Service
from worker.errors import ConfigurationError
from worker.hooks.senders.registry import SENDERS
from worker.hooks.sns_signature import SnsVerifier
from worker.serve.hooks.routes import Hooks
from worker.settings import Settings
from worker.store import Store

SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
S3STORE = {"Type": "s3store", "Bucket": "uploads", "Key": "tus/14b1c4c77771671a8479bc0444bbc5ce"}
KEYED = [sender for sender in SENDERS if sender not in ("sns", "webhook")]


@pytest.fixture(scope="module")
def topic() -> Topic:
    return Topic()


@pytest.fixture
def hooks_file(tmp_path: Path, topic: Topic) -> Path:
    (tmp_path / "webhook.keys").write_text(SECRET)
    path = tmp_path / "hooks.toml"
    path.write_text(
        '[[mapping]]\nlocation = "s3://uploads/"\nsource = "uploads"\n'
        f'[webhook]\nkey_files = ["{tmp_path}/webhook.keys"]\n[sns]\ntopics = ["{topic.arn}"]\n'
    )
    return path


@pytest.fixture
def serve_changes(hooks_file: Path, topic: Topic, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    topic.fetched.clear()
    monkeypatch.setattr("worker.serve.hooks.routes.sns_fetch", lambda: topic.fetch)
    return {"hooks_file": hooks_file}


@pytest.fixture
def uris(run: Sql) -> Callable[[], list[str]]:
    return lambda: [uri for (uri,) in run("SELECT uri FROM susy.checks ORDER BY id")]


def webhook(client: Client, body: bytes, *, secret: str = SECRET, at: float | None = None) -> Answer:
    moment = datetime.fromtimestamp(time.time() if at is None else at, UTC)
    signature = standardwebhooks.Webhook(secret).sign("msg_1", moment, body.decode())
    return client.post(
        "/v1/hooks/webhook",
        body,
        webhook_id="msg_1",
        webhook_timestamp=str(int(moment.timestamp())),
        webhook_signature=signature,
    )


@pytest.mark.parametrize(
    ("sender", "document", "uri"),
    [
        ("tusd", tusd(S3STORE), "s3://uploads/tus/14b1c4c77771671a8479bc0444bbc5ce"),
        ("s3", s3(s3_record("uploads", "a b.png")), "s3://uploads/a b.png"),
        ("minio", minio("uploads", "a b.png"), "s3://uploads/a b.png"),
        ("eventbridge", eventbridge("uploads", "a+b.png"), "s3://uploads/a+b.png"),
        ("cloudevents", cloudevent("image.uploaded", {"uri": "s3://uploads/a.png"}), "s3://uploads/a.png"),
    ],
)
def test_an_upload_is_accepted_once_however_often_it_is_reported(
    client: Client, uris: Callable[[], list[str]], sender: str, document: Any, uri: str
) -> None:
    first, second = (client.post(f"/v1/hooks/{sender}", document) for _ in range(2))
    assert (first.status, second.status) == (200, 200)
    assert first.headers["content-type"] == "application/json"
    if sender == "tusd":  # which would obey what it is told
        assert first.document == second.document == {}
    else:
        assert (first.document["accepted"], first.document["repeated"]) == (1, 0)
        assert (second.document["accepted"], second.document["repeated"]) == (0, 1)
        assert first.document["check_ids"] == second.document["check_ids"]
    assert uris() == [uri]


def test_a_key_may_be_the_password_of_basic_authentication(client: Client, service: Service, key: str) -> None:
    credentials = base64.b64encode(f"any-name:{key}".encode()).decode()
    anonymous = service.client()
    assert anonymous.post("/v1/hooks/s3", S3_TEST, Authorization=f"Basic {credentials}").status == 200
    for header in ("Basic %%%", "Basic " + base64.b64encode(b"no colon").decode(), "Digest x", "Bearer", "Bearer "):
        assert anonymous.post("/v1/hooks/s3", S3_TEST, Authorization=header).code == "no_credentials"


@pytest.mark.parametrize("sender", KEYED)
def test_a_sender_without_a_valid_key_is_refused(service: Service, sender: str, uris: Callable[[], list[str]]) -> None:
    body = s3(s3_record("uploads", "a.png"))
    assert service.client().post(f"/v1/hooks/{sender}", body).code == "no_credentials"
    assert service.client("susy_unknown").post(f"/v1/hooks/{sender}", body).code == "unknown_key"
    assert uris() == []


def test_a_key_needs_the_scope_and_the_source(service: Service, store: Store, uris: Callable[[], list[str]]) -> None:
    body = s3(s3_record("uploads", "a.png"))
    reader = service.client(store.keys.add("reader", [Scope.READ]))
    assert reader.post("/v1/hooks/s3", body).code == "missing_scope"
    other = service.client(store.keys.add("other", [Scope.SUBMIT], sources=["chat"]))
    refused = other.post("/v1/hooks/s3", body)
    assert (refused.status, refused.code) == (403, "forbidden_source")
    assert uris() == []


def test_a_webhook_needs_no_key_but_its_signature(service: Service, uris: Callable[[], list[str]]) -> None:
    client = service.client()
    body = json.dumps({"type": "image.uploaded", "data": {"uri": "s3://uploads/a.png"}}).encode()
    assert webhook(client, body).document["accepted"] == 1
    assert webhook(client, body).document["repeated"] == 1
    other = "whsec_" + base64.b64encode(b"x" * 32).decode()
    assert webhook(client, body, secret=other).code == "invalid_signature"
    assert webhook(client, body, at=time.time() - 400).code == "expired_signature"
    assert client.post("/v1/hooks/webhook", body).code == "invalid_signature"
    assert uris() == ["s3://uploads/a.png"]


def test_sns_confirms_its_subscription_and_delivers(
    service: Service, topic: Topic, uris: Callable[[], list[str]]
) -> None:
    client = service.client()
    subscription = topic.subscription()
    assert client.post("/v1/hooks/sns", json.dumps(subscription).encode(), Content_Type="text/plain").status == 200
    assert topic.fetched == [topic.certificate_url, subscription["SubscribeURL"]]
    notification = topic.notification(json.dumps(s3(s3_record("uploads", "a.png"))), version="1")
    assert client.post("/v1/hooks/sns", notification).document["accepted"] == 1
    assert client.post("/v1/hooks/sns", notification | {"Message": "{}"}).code == "invalid_signature"
    unlisted = topic.notification("{}", TopicArn="arn:aws:sns:eu-west-1:999999999999:uploads")
    refused = client.post("/v1/hooks/sns", unlisted)
    assert (refused.status, refused.code) == (403, "unknown_topic")
    assert uris() == ["s3://uploads/a.png"]


def test_what_is_no_upload_is_answered_by_200_and_counted(client: Client, uris: Callable[[], list[str]]) -> None:
    deleted = s3_record("uploads", "a.png", name="ObjectRemoved:Delete")
    empty = s3_record("uploads", "b.png", size=0)
    answer = client.post("/v1/hooks/s3", s3(deleted, deleted, empty))
    assert (answer.status, answer.document["ignored"]) == (200, {"deleted": 2, "empty": 1})
    assert client.post("/v1/hooks/tusd", tusd(S3STORE, IsPartial=True)).document == {}
    assert uris() == []
    assert client.get("/v1/hooks").document == [
        {"sender": "s3", "outcome": "ignored", "reason": "deleted", "count": 2},
        {"sender": "s3", "outcome": "ignored", "reason": "empty", "count": 1},
        {"sender": "tusd", "outcome": "ignored", "reason": "partial", "count": 1},
    ]


@pytest.mark.parametrize(
    ("sender", "document", "status", "code"),
    [
        ("s3", s3(s3_record("other", "a.png")), 422, "unmapped_bucket"),
        ("s3", s3(s3_record("uploads", "a.png", version="3.0")), 422, "unknown_event_version"),
        ("eventbridge", eventbridge("uploads", "a.png", version="1"), 422, "unknown_event_version"),
        ("cloudevents", cloudevent("image.uploaded", {}, specversion="0.3"), 422, "unknown_event_version"),
        ("s3", b"{", 422, "invalid_event"),
        ("tusd", tusd({"Type": "filestore", "Path": "data/x"}), 422, "invalid_event"),
        ("tusd", tusd({"Type": "filestore", "Path": "/etc/passwd"}), 422, "unmapped_bucket"),
        ("nobody", {}, 404, "unknown_sender"),
    ],
)
def test_what_is_refused_has_a_code_of_its_own_and_writes_nothing(
    client: Client, uris: Callable[[], list[str]], sender: str, document: Any, status: int, code: str
) -> None:
    answer = client.post(f"/v1/hooks/{sender}", document)
    assert (answer.status, answer.code) == (status, code)
    assert uris() == []


def test_the_good_events_of_a_message_are_accepted_beside_the_refused(
    client: Client, uris: Callable[[], list[str]]
) -> None:
    records = [s3_record("uploads", f"{number}.png", eTag=f"e{number}") for number in range(100)]
    records[3]["eventVersion"] = "3.0"
    records[4]["s3"]["bucket"]["name"] = "other"
    del records[5]["s3"]
    answer = client.post("/v1/hooks/s3", s3(*records))
    assert (answer.status, answer.document["accepted"]) == (422, 97)
    assert [refused["code"] for refused in answer.document["refused"]] == [
        "unknown_event_version",
        "unmapped_bucket",
        "invalid_event",
    ]
    assert len(uris()) == 97
    assert client.post("/v1/hooks/s3", s3(*records)).document["repeated"] == 97


def test_the_handshake_of_cloudevents_is_answered(service: Service) -> None:
    answer = service.client()("OPTIONS", "/v1/hooks/cloudevents", WebHook_Request_Origin="eventgrid.azure.net")
    assert answer.status == 200
    assert answer.headers["webhook-allowed-origin"] == "eventgrid.azure.net"


def test_without_a_hooks_file_no_hook_is_accepted_and_a_wrong_one_stops_the_service(
    settings: Settings, tmp_path: Path
) -> None:
    assert Hooks.create(settings).file is None
    path = tmp_path / "wrong.toml"
    path.write_text("mapping = 1")
    with pytest.raises(ConfigurationError, match="hooks_invalid"):
        Hooks.create(settings.model_copy(update={"hooks_file": path}))


def test_sns_is_asked_for_its_certificate_when_the_service_has_topics(settings: Settings, hooks_file: Path) -> None:
    hooks = Hooks.create(settings.model_copy(update={"hooks_file": hooks_file}), fetch=lambda _url: b"")
    assert isinstance(hooks.verifier, SnsVerifier)
