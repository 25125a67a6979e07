"""The client over HTTP, before the real service: the same calls, and nothing lost or doubled when answers are."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from schema.access import Scope
from schema.states import Decision, Lane
from tests.client.test_client import FORKING
from tests.support.commands import run as run_program
from tests.support.databases import Sql
from tests.support.faulty_proxy import Exchange, FaultyProxy, faulty_proxy
from tests.support.http_service import Service
from tests.support.ledger import done, submission
from tests.support.ledger_worker import working
from worker.client import Client
from worker.errors import ErrorCode, PermanentError
from worker.store import Store

COUNT = "SELECT count(*) FROM susy.checks"


@pytest.fixture
def serve_changes(images: Path) -> dict[str, object]:
    return {"storage": str(images / "storage"), "max_bytes": 1_000_000}


@pytest.fixture
def key(store: Store) -> str:
    return store.keys.add("hooks", [Scope.SUBMIT, Scope.REVIEW])


@pytest.fixture
def proxy(service: Service) -> Iterator[FaultyProxy]:
    with faulty_proxy(service.url) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: FaultyProxy, key: str) -> Iterator[Client]:
    with Client(url=proxy.url, api_key=key) as client:
        yield client


def test_everything_that_can_be_said_arrives(client: Client, store: Store) -> None:
    soon = datetime.now(UTC) + timedelta(hours=1)
    receipt = client.submit(
        source="avatars", uri="/images/ä 😀.jpg", external_id="ü/1?&", lane="backfill", policy="strict",
        attributes={"n": [1, None, "é"]}, expires_at=soon,
    )  # fmt: skip
    assert receipt.created
    check = store.show(receipt.check_id)
    assert (check.source, check.uri, check.external_id, check.lane) == (
        "avatars",
        "/images/ä 😀.jpg",
        "ü/1?&",
        Lane.BACKFILL,
    )
    assert (check.policy, check.attributes, check.expires_at) == ("strict", {"n": [1, None, "é"]}, soon)


def test_a_repeat_and_a_conflict_are_those_of_the_other_way(client: Client) -> None:
    first = client.submit(source="avatars", uri="/a.jpg", external_id="1")
    again = client.submit(source="avatars", uri="/a.jpg", external_id="1")
    assert (again.check_id, again.created) == (first.check_id, False)
    with pytest.raises(PermanentError, match="accepted before") as conflict:
        client.submit(source="avatars", uri="/b.jpg", external_id="1")
    assert conflict.value.code is ErrorCode.CONFLICT


CALLS: list[Callable[[Client], Any]] = [
    lambda client: client.submit(source="avatars", uri="/a.jpg").check_id,
    lambda client: client.upload(b"an image", source="avatars").check_id,
    lambda client: client.upload(io.BytesIO(b"an image"), source="avatars").check_id,
    lambda client: client.gate(b"an image", source="avatars", within=0).check_id,
    lambda client: client.gate(source="avatars", uri="/a.jpg", within=0).check_id,
]


@pytest.mark.parametrize("call", CALLS, ids=["submit", "upload", "upload of a file", "gate", "gate of a uri"])
def test_an_answer_that_is_lost_is_asked_for_again_and_the_check_exists_once(
    client: Client, proxy: FaultyProxy, run: Sql, call: Callable[[Client], Any]
) -> None:
    proxy.lose_answers = 2
    check_id = call(client)
    assert run("SELECT id FROM susy.checks") == [(check_id,)]
    assert len(proxy.forwarded) == 3


def test_a_file_is_sent_from_where_it_stands_however_often(client: Client, proxy: FaultyProxy, images: Path) -> None:
    file = io.BytesIO(b"head" + b"an image" * 10_000)
    file.seek(4)
    proxy.faults = [Exchange.reset, lambda exchange: exchange.answer(503)]
    client.upload(file, source="avatars", attributes={"a": 1}, content_type="image/jpeg")
    [stored] = [path for path in (images / "storage").rglob("*") if path.is_file()]
    assert stored.read_bytes() == b"an image" * 10_000


def test_the_gate_answers_as_its_rules_say(client: Client, store: Store, database_url: str) -> None:
    late = client.gate(b"an image", source="avatars", within=0.2, external_id="u-1")
    assert (late.answer, late.reason, late.decision) == ("hold", "late", None)
    with working(database_url, store, Decision.SYNTHETIC):
        decided = client.gate(b"an image", source="avatars", within=20, external_id="u-1")
    assert (decided.answer, decided.reason, decided.decision) == ("refuse", "decided", Decision.SYNTHETIC)
    assert decided.check_id == late.check_id


@pytest.mark.parametrize("arguments", [{}, {"image": b"x", "uri": "/a.jpg"}])
def test_the_gate_is_asked_about_one_image(client: Client, arguments: dict[str, Any]) -> None:
    with pytest.raises(PermanentError, match="either") as refused:
        client.gate(source="avatars", **arguments)
    assert refused.value.code is ErrorCode.INVALID_MESSAGE


def test_an_image_that_is_too_large_is_refused_with_the_services_code(service: Service, key: str, run: Sql) -> None:
    with Client(url=service.url, api_key=key) as client, pytest.raises(PermanentError) as refused:
        client.upload(b"x" * 1_000_001, source="avatars")
    assert refused.value.code is ErrorCode.TOO_MANY_BYTES
    assert run(COUNT) == [(0,)]


def test_reviews_are_added_or_refused_as_by_the_other_way(client: Client, store: Store, run: Sql) -> None:
    check_id, waiting = done(store).check_id, store.submit(submission()).check_id
    client.add_review(check_id, reviewer="ada", decision="authentic", note="a poster ü")
    assert run("SELECT check_id, reviewer, decision, note FROM susy.reviews") == [
        (check_id, "ada", "authentic", "a poster ü")
    ]
    codes = []
    for wrong in (uuid4(), waiting):
        with pytest.raises(PermanentError) as refused:
            client.add_review(wrong, reviewer="ada", decision="authentic")
        codes.append(refused.value.code)
    with pytest.raises(PermanentError) as nameless:
        client.add_review(check_id, reviewer="", decision="authentic")
    assert [*codes, nameless.value.code] == [
        ErrorCode.UNKNOWN_CHECK, ErrorCode.CHECK_NOT_ENDED, ErrorCode.INVALID_MESSAGE,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("scopes", "sources", "code"),
    [([Scope.READ], None, ErrorCode.MISSING_SCOPE), ([Scope.SUBMIT], ["chat"], ErrorCode.FORBIDDEN_SOURCE)],
)
def test_a_key_that_may_not_is_told_so(
    service: Service, store: Store, scopes: list[Scope], sources: list[str] | None, code: ErrorCode
) -> None:
    other = store.keys.add("other", scopes, sources=sources)
    with Client(url=service.url, api_key=other) as client, pytest.raises(PermanentError) as refused:
        client.submit(source="avatars", uri="/a.jpg")
    assert refused.value.code is code
    assert other not in str(refused.value)


def test_a_process_that_forks_after_its_first_submission_shares_no_connection(
    service: Service, key: str, tmp_path: Path
) -> None:
    variables = {"SUSY_URL": service.url, "SUSY_API_KEY": key}
    ended = run_program(sys.executable, "-c", FORKING, folder=tmp_path, **variables)
    assert (ended.code, ended.stderr) == (0, "")


def test_a_client_that_was_made_before_a_fork_works_after_it(service: Service, key: str, tmp_path: Path) -> None:
    program = FORKING.replace(
        "from susy_worker import submit", "from susy_worker import Client\nsubmit = Client().submit"
    )
    variables = {"SUSY_URL": service.url, "SUSY_API_KEY": key}
    ended = run_program(sys.executable, "-c", program, folder=tmp_path, **variables)
    assert (ended.code, ended.stderr) == (0, "")
