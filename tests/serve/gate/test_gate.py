"""`/v1/gate`: answers in time, by rule, whatever the check comes to."""

from __future__ import annotations

import base64
import time
from pathlib import Path

import pytest

from schema.access import Scope
from schema.states import CheckState, Decision
from tests.support.databases import Sql
from tests.support.http_service import Answer, Client, Service
from tests.support.ledger_worker import Outcome, working
from worker.errors import ErrorCode
from worker.store import Store

IMAGE = b"\x89PNG\r\n\x1a\n an image"
PNG = {"Content_Type": "image/png"}
RULES = """
[default]
deadline = "1s"

[sources.open]
late = "allow"
yes_or_no = "allow"

[sources.closed]
late = "refuse"
inconclusive = "refuse"
failed = "refuse"
"""


@pytest.fixture
def folder(images: Path) -> Path:
    """The storage, under a root of the images."""
    return images / "storage"


@pytest.fixture
def serve_changes(folder: Path, tmp_path: Path) -> dict[str, object]:
    rules = tmp_path / "gate.toml"
    rules.write_text(RULES)
    return {"storage": str(folder), "gate_file": rules}


def said(answer: Answer) -> tuple[str, str, str | None]:
    assert answer.status == 200, answer.body
    return answer.document["answer"], answer.document["reason"], answer.document["decision"]


@pytest.mark.parametrize(
    ("outcome", "source", "expected"),
    [
        (Decision.AUTHENTIC, "avatars", ("allow", "decided", "authentic")),
        (Decision.SYNTHETIC, "avatars", ("refuse", "decided", "synthetic")),
        (Decision.INCONCLUSIVE, "avatars", ("hold", "decided", "inconclusive")),
        (Decision.INCONCLUSIVE, "closed", ("refuse", "decided", "inconclusive")),
        (ErrorCode.UNSUPPORTED_FORMAT, "avatars", ("hold", "failed", None)),
        (ErrorCode.TRUNCATED, "closed", ("refuse", "failed", None)),
    ],
    ids=str,
)
def test_the_answer_follows_the_checks_end_by_the_sources_rule(
    client: Client,
    store: Store,
    database_url: str,
    outcome: Outcome,
    source: str,
    expected: tuple[str, str, str | None],
) -> None:
    with working(database_url, store, outcome):
        answer = client.post(f"/v1/gate?source={source}&within=20", IMAGE, **PNG)
    assert said(answer) == expected
    assert store.show(answer.document["check_id"]).state.is_final


@pytest.mark.parametrize(("source", "expected"), [("avatars", "hold"), ("open", "allow"), ("closed", "refuse")])
def test_without_a_verdict_in_time_the_rule_answers_and_the_check_goes_on(
    client: Client, store: Store, database_url: str, source: str, expected: str
) -> None:
    began = time.monotonic()
    answer = client.post(f"/v1/gate?source={source}&external_id=u-1", IMAGE, **PNG)
    assert 0.9 < time.monotonic() - began < 3
    assert said(answer) == (expected, "late", None)
    assert store.show(answer.document["check_id"]).state is CheckState.QUEUED
    with working(database_url, store, Decision.AUTHENTIC):
        again = client.post(f"/v1/gate?source={source}&external_id=u-1&within=20", IMAGE, **PNG)
    assert said(again) == ("allow", "decided", "authentic"), "asking again waits for the same check"
    assert again.document["check_id"] == answer.document["check_id"]
    [event] = store.events_after(0, limit=10)
    assert str(event.check_id) == answer.document["check_id"]


def test_a_deadline_of_nothing_answers_at_once(client: Client) -> None:
    began = time.monotonic()
    assert said(client.post("/v1/gate?source=avatars&within=0", IMAGE, **PNG)) == ("hold", "late", None)
    assert time.monotonic() - began < 0.9


def test_an_image_elsewhere_is_named_by_its_uri(client: Client, store: Store, database_url: str) -> None:
    with working(database_url, store, Decision.SYNTHETIC):
        answer = client.post("/v1/gate?within=20", {"source": "avatars", "uri": "/images/1.jpg", "external_id": "u"})
    assert said(answer) == ("refuse", "decided", "synthetic")
    assert store.show(answer.document["check_id"]).uri == "/images/1.jpg"


@pytest.mark.parametrize(
    ("query", "body", "content_type", "code"),
    [
        ("source=avatars&within=-1", IMAGE, "image/png", "invalid_message"),
        ("source=avatars&within=61", IMAGE, "image/png", "invalid_message"),
        ("source=avatars&within=nan", IMAGE, "image/png", "invalid_message"),
        ("source=avatars", b"", "image/png", "no_image"),
        ("", IMAGE, "image/png", "invalid_message"),
        ("", b"{", "application/json", "invalid_json"),
        ("", b'{"source": "a"}', "application/json", "invalid_message"),
        ("", b" " * 4_000_001, "application/json", "too_large"),
        ("source=avatars", IMAGE, "text/plain", "unsupported_media_type"),
    ],
)
def test_what_cannot_be_asked_has_its_code_and_leaves_nothing(
    client: Client, run: Sql, folder: Path, query: str, body: bytes, content_type: str, code: str
) -> None:
    assert client.post(f"/v1/gate?{query}", body, Content_Type=content_type).code == code
    assert run("SELECT count(*) FROM susy.checks") == [(0,)]
    assert [path for path in folder.rglob("*") if path.is_file()] == []


# --- pict-rs


def ask(service: Service, key: str, query: str, body: bytes = IMAGE, content_type: str = "image/png") -> Answer:
    credentials = base64.b64encode(f"pict-rs:{key}".encode()).decode()
    return service.client().post(
        f"/v1/gate/pict-rs?{query}", body, Content_Type=content_type, Authorization=f"Basic {credentials}"
    )


@pytest.mark.parametrize(
    ("outcome", "source", "accepted"),
    [
        (Decision.AUTHENTIC, "avatars", True),
        (Decision.SYNTHETIC, "avatars", False),
        (Decision.INCONCLUSIVE, "avatars", False),
        (Decision.INCONCLUSIVE, "open", True),
        (None, "avatars", False),
        (None, "open", True),
    ],
    ids=str,
)
def test_pict_rs_is_told_yes_or_no(
    service: Service, key: str, store: Store, database_url: str, outcome: Outcome, source: str, accepted: bool
) -> None:
    with working(database_url, store, outcome):
        answer = ask(service, key, f"source={source}")
    assert (answer.status, answer.code) == ((200, None) if accepted else (422, "upload_refused"))
    assert store.show(answer.document["check_id"]).source == source


def test_a_video_of_pict_rs_is_not_examined(service: Service, key: str, run: Sql, folder: Path) -> None:
    assert ask(service, key, "source=avatars", content_type="video/webm").code == "upload_refused"
    assert ask(service, key, "source=open", content_type="video/webm").status == 200
    assert run("SELECT count(*) FROM susy.checks") == [(0,)]
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("authorization", [None, "Bearer susy_x", "Basic !!!", "Basic cGljdC1yczo=", "Basic /w=="])
def test_without_a_key_in_its_address_pict_rs_is_refused(service: Service, authorization: str | None) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    answer = service.client().post("/v1/gate/pict-rs?source=avatars", IMAGE, **PNG, **headers)
    assert (answer.status, answer.code) == (401, "no_credentials")


def test_a_key_that_pict_rs_may_not_use_is_refused(service: Service, store: Store) -> None:
    other = store.keys.add("other", [Scope.SUBMIT], sources=["chat"])
    assert ask(service, other, "source=avatars").code == "forbidden_source"
    assert ask(service, other, "source=avatars", content_type="video/mp4").code == "forbidden_source"
    assert ask(service, "susy_unknown", "source=avatars").code == "unknown_key"
