"""Text that Postgres cannot store is refused as such, wherever it is passed in; so are databases that are not UTF-8."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from schema.examination import Examination
from schema.scan import Tiling
from schema.states import CheckState, Decision
from tests.support.commands import Susy
from tests.support.databases import with_database
from tests.support.ledger import SCAN, VERDICT, claimed, done, examination, submission, unchecked
from tests.support.scans import MODEL
from worker.client import Client
from worker.errors import ConfigurationError, ErrorCode, PermanentError
from worker.queue.runtime import start_runtime
from worker.settings import Settings, load_settings
from worker.store import CheckFilter, Store
from worker.store.migrate import require_current, upgrade

ENCODINGS = ["SQL_ASCII", "LATIN1", "LATIN9", "WIN1252", "KOI8R", "EUC_JP", "EUC_TW", "MULE_INTERNAL"]
"""Apart from UTF8: of one byte and of several, without a conversion to UTF8, without a codec in Python."""
NOT_TEXT = ["half a pair \ud83d", "\udc80 of a file name", "NUL \x00"]

Call = Callable[[Store, str], Any]

CALLS: dict[str, Call] = {
    "source": lambda store, text: store.submit(unchecked(source=text)),
    "uri": lambda store, text: store.submit(unchecked(uri=text)),
    "external_id": lambda store, text: store.submit(unchecked(external_id=text)),
    "policy": lambda store, text: store.submit(unchecked(policy=text)),
    "attribute": lambda store, text: store.submit(unchecked(attributes={"name": text})),
    "attribute's name": lambda store, text: store.submit(unchecked(attributes={text: "value"})),
    "one of many": lambda store, text: store.submit_each([submission(), unchecked(external_id=text)]),
    "worker": lambda store, text: store.claim(
        store.submit(submission()).check_id, worker=text, lease=9, max_attempts=5
    ),
    "content": lambda store, text: store.find_scan(text, MODEL, Tiling()),
    "generator": lambda store, text: store.record(
        claimed(store), examination(verdict=replace(VERDICT, generator=text))
    ),
    "class": lambda store, text: store.record(
        claimed(store), examination(verdict=replace(VERDICT, class_scores={text: 1.0}))
    ),
    "format": lambda store, text: store.record(claimed(store), examination(scan=replace(SCAN, format=text))),
    "policy's document": lambda store, text: store.record(
        claimed(store), Examination(SCAN, None, None, VERDICT, {"name": text})
    ),
    "reviewer": lambda store, text: store.add_review(done(store).check_id, reviewer=text, decision=Decision.AUTHENTIC),
    "note": lambda store, text: store.add_review(
        done(store).check_id, reviewer="ada", decision=Decision.AUTHENTIC, note=text
    ),
    "code of a filter": lambda store, text: store.count(CheckState.QUARANTINED, CheckFilter(code=text)),
    "source of a filter": lambda store, text: store.cancel(CheckFilter(source=text)),
}


@pytest.mark.parametrize("text", NOT_TEXT, ids=ascii)
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_what_is_no_text_is_an_invalid_message(shared_store: Store, call: Call, text: str) -> None:
    with pytest.raises(PermanentError) as caught:
        call(shared_store, text)
    assert caught.value.code is ErrorCode.INVALID_MESSAGE
    caught.value.message.encode()
    shared_store.ping()


@pytest.mark.parametrize("text", NOT_TEXT, ids=ascii)
def test_what_describes_a_failure_is_kept_all_the_same(store: Store, text: str) -> None:
    claim = claimed(store)
    assert store.fail(claim, code=ErrorCode.CORRUPT, message=text, retry_in=None)
    error = store.show(claim.check_id).error
    assert error is not None
    assert error.message
    store.reject_message(text, text, code=ErrorCode.INVALID_MESSAGE, message=text)


@pytest.mark.parametrize("text", NOT_TEXT, ids=ascii)
def test_a_hook_gets_the_same_error(database_url: str, redis_url: str, text: str) -> None:
    with Client(load_settings(database_url=database_url, redis_url=redis_url)) as client:
        for field in ({"source": text}, {"external_id": text}, {"attributes": {"name": text}}):
            with pytest.raises(PermanentError) as caught:
                client.submit(**{"source": "avatars", "uri": "/images/1.jpg", **field})  # type: ignore[arg-type]
            assert caught.value.code is ErrorCode.INVALID_MESSAGE


@pytest.fixture(scope="module")
def other_encodings(postgres_url: str) -> Iterator[dict[str, str]]:
    """The URL of a database in each of the encodings."""
    prefix = f"susy_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(postgres_url, autocommit=True) as server:
        for encoding in ENCODINGS:
            server.execute(
                f"CREATE DATABASE {prefix}_{encoding} TEMPLATE template0 ENCODING '{encoding}'"
                " LC_COLLATE 'C' LC_CTYPE 'C' STRATEGY file_copy"
            )
        try:
            yield {encoding: with_database(postgres_url, f"{prefix}_{encoding.lower()}") for encoding in ENCODINGS}
        finally:
            for encoding in ENCODINGS:
                server.execute(f"DROP DATABASE {prefix}_{encoding} WITH (FORCE)")


def test_a_database_in_another_encoding_is_refused_in_one_sentence(other_encodings: dict[str, str]) -> None:
    for encoding, url in other_encodings.items():
        for step in (upgrade, require_current):
            with pytest.raises(ConfigurationError, match=f"encoding {encoding}.*needs UTF8") as caught:
                step(url)
            assert caught.value.code is ErrorCode.SETTINGS


def test_a_hook_is_told_so_too(other_encodings: dict[str, str]) -> None:
    with Store(other_encodings["LATIN1"], pool_size=1, timeout=5) as store, pytest.raises(ConfigurationError):
        store.submit(submission())


def test_commands_and_workers_refuse_it_in_one_line(
    other_encodings: dict[str, str], susy: Susy, settings: Settings
) -> None:
    for encoding in ("SQL_ASCII", "LATIN1"):
        url = other_encodings[encoding]
        upgraded = susy("db", "upgrade", SUSY_DATABASE_URL=url)
        assert upgraded.code == 2
        assert len(upgraded.stderr.strip().splitlines()) == 1
        assert f"encoding {encoding}" in upgraded.stderr
        examined = susy("doctor", SUSY_DATABASE_URL=url)
        assert examined.code == 2
        assert f"encoding {encoding}" in examined.stdout
        with pytest.raises(ConfigurationError, match=f"encoding {encoding}"):
            start_runtime(settings.model_copy(update={"database_url": url}))
