"""What `Client.submit` refuses, and how."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.support.commands import run
from tests.support.ledger import done
from worker.client import Client
from worker.errors import ErrorCode, PermanentError
from worker.settings import Settings
from worker.store import Store

DEEP: list[Any] = []
for _ in range(5000):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("source", "half of a pair \ud83d"),
        ("uri", "/images/\udcff.png"),
        ("external_id", "\ud83d"),
        ("policy", "\udc00"),
        ("lane", "\udc00"),
        ("attributes", {"title": {"nested": ["\ud83d"]}}),
        ("attributes", {"\ud83d": 1}),
        ("attributes", {"score": float("nan")}),
        ("attributes", {"score": float("inf")}),
        ("attributes", {"deep": DEEP}),
        ("attributes", {"bytes": b"x"}),
        ("attributes", {"nul": "\x00"}),
        ("source", "\x00"),
        ("uri", 17),
        ("expires_at", "2031-01-31T08:00:00"),
        ("expires_at", datetime(2031, 1, 31)),
        ("expires_at", 1_790_000_000),
        ("expires_at", "1790000000"),
        ("expires_at", "soon"),
        ("expires_at", "0001-01-01T00:00:00+23:00"),
        ("expires_at", "9999-12-31T23:00:00-12:00"),
        ("expires_in", 1e300),
        ("expires_in", float("nan")),
    ],
)
def test_what_cannot_be_stored_is_an_invalid_message(settings: Settings, argument: str, value: Any) -> None:
    arguments = {"source": "test", "uri": "/images/a.png", "external_id": "1"} | {argument: value}
    with Client(settings) as client, pytest.raises(PermanentError) as refused:
        client.submit(**arguments)
    assert refused.value.code is ErrorCode.INVALID_MESSAGE
    refused.value.message.encode()


def test_text_that_only_looks_like_an_escape_is_accepted(settings: Settings, images: Path) -> None:
    with Client(settings) as client:
        receipt = client.submit(source="test", uri=str(images / "a.png"), attributes={"path": r"C:\\u0000 and 😀"})
    assert receipt.created


def test_a_deadline_is_a_time_or_seconds_from_now_and_not_both(settings: Settings, store: Store) -> None:
    soon = datetime.now(UTC) + timedelta(minutes=5)
    with Client(settings) as client:
        first = client.submit(source="test", uri="/a.png", expires_at=soon).check_id
        second = client.submit(source="test", uri="/a.png", expires_in=300).check_id
        with pytest.raises(PermanentError, match="give one of them") as both:
            client.submit(source="test", uri="/a.png", expires_at=soon, expires_in=300)
    assert both.value.code is ErrorCode.INVALID_MESSAGE
    assert store.show(first).expires_at == soon
    left = store.show(second).expires_at
    assert left is not None
    assert abs(left - soon) < timedelta(minutes=1)


def test_a_review_is_stored_or_refused_with_a_code(settings: Settings, store: Store) -> None:
    check_id = done(store).check_id
    with Client(settings) as client:
        client.add_review(check_id, reviewer="ada", decision="authentic", note="a poster")
        with pytest.raises(PermanentError) as unknown:
            client.add_review(uuid4(), reviewer="ada", decision="authentic")
        with pytest.raises(PermanentError) as invalid:
            client.add_review(check_id, reviewer="ada", decision="perhaps")
    assert (unknown.value.code, invalid.value.code) == (ErrorCode.UNKNOWN_CHECK, ErrorCode.INVALID_MESSAGE)


FORKING = """
import os
from susy_worker import submit

def once(name):
    return submit(source="fork", external_id=name, uri="/images/a.png").created

assert once("before")
child = os.fork()
if not child:
    assert once("child")
    raise SystemExit(0)
assert os.waitpid(child, 0)[1] == 0
assert once("after")
"""


def test_a_process_that_forks_after_its_first_submission_shares_no_connection(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    variables = {"SUSY_DATABASE_URL": database_url, "SUSY_REDIS_URL": redis_url}
    ended = run(sys.executable, "-c", FORKING, folder=tmp_path, **variables)
    assert (ended.code, ended.stderr) == (0, "")
