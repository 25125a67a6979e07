"""The example receiver, run as its page says, called back by a deliverer."""

from __future__ import annotations

import sqlite3
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from schema.states import CheckState, KeyKind
from tests.callbacks.conftest import deliver
from tests.support.checkout import CHECKOUT
from tests.support.commands import Spawned, environment
from tests.support.ledger import claimed, done, examination
from tests.support.servers import free_port
from tests.support.waiting import eventually
from worker.callbacks.deliver import Deliverer
from worker.callbacks.signing import SigningKey, signed_headers
from worker.errors import ErrorCode
from worker.settings import load_settings
from worker.store import CheckFilter, Store
from worker.store.callbacks import CallbackStore

KEY = SigningKey.new(KeyKind.HMAC)


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """The running example's."""
    port = free_port()
    command = (sys.executable, "-m", "flask", "--app", "receive_callbacks", "run", "--port", str(port))
    given = environment(CALLBACK_SECRET=KEY.shared, CALLBACK_DATABASE=str(tmp_path / "callbacks.sqlite3"))
    example = Spawned(*command, folder=CHECKOUT / "examples", log=tmp_path / "example.log", environment=given)
    example.eventually(lambda: "Running on" in example.output())
    yield f"http://127.0.0.1:{port}/hooks/susy"
    example.kill()


def images(tmp_path: Path) -> list[tuple[str, str, str | None]]:
    with sqlite3.connect(tmp_path / "callbacks.sqlite3") as database:
        return database.execute("SELECT check_id, state, decision FROM images ORDER BY sequence").fetchall()


def post(url: str, body: bytes, headers: dict[str, str]) -> int:
    try:
        with urlopen(Request(url, body, headers, method="POST"), timeout=10) as answer:
            status: int = answer.status
            return status
    except HTTPError as error:
        return error.code


def test_the_example_keeps_what_was_signed_once_and_nothing_older(
    url: str, database_url: str, store: Store, tmp_path: Path
) -> None:
    with CallbackStore(database_url) as callbacks:
        callbacks.add_endpoint(
            name="example", url=url, sources=["avatars"], allow_private=True, kind=KEY.kind, secret=KEY.secret
        )
        deliverer = Deliverer(callbacks, load_settings(database_url=database_url, callback_timeout=10))
        verdict = done(store).check_id
        again = claimed(store)
        store.fail(again, code=ErrorCode.CORRUPT, message="a JPEG without a header", retry_in=None)
        deliver(deliverer)
        assert images(tmp_path) == [(str(verdict), "done", "synthetic"), (str(again.check_id), "quarantined", None)]
        store.requeue(CheckState.QUARANTINED, CheckFilter())
        claim = store.claim(again.check_id, worker="worker-2", lease=60, max_attempts=5)
        assert claim is not None
        store.record(claim, examination())
        deliver(deliverer)
        deliverer.close()
    expected = [(str(verdict), "done", "synthetic"), (str(again.check_id), "done", "synthetic")]
    assert images(tmp_path) == expected

    from worker.callbacks.payload import body

    late = store.events_after(0, limit=10)[1]
    content = body(late)
    for message_id in (late.message_id, "evt_late"):
        assert post(url, content, signed_headers(message_id, int(time.time()), content, [KEY])) == 204
    eventually(lambda: images(tmp_path) == expected, 5)


def test_the_example_refuses_what_was_not_signed_or_signed_long_ago(url: str, tmp_path: Path) -> None:
    now, body = int(time.time()), b'{"type":"image.verdict.created","data":{}}'
    assert post(url, body, signed_headers("evt_1", now, body, [SigningKey.new(KeyKind.HMAC)])) == 401
    assert post(url, body, signed_headers("evt_1", now - 600, body, [KEY])) == 401
    assert post(url, body + b" ", signed_headers("evt_1", now, body, [KEY])) == 401
    assert post(url, body, {}) == 401
    trial = b'{"type":"endpoint.test","data":{}}'
    assert post(url, trial, signed_headers("test_1", now, trial, [KEY])) == 204
