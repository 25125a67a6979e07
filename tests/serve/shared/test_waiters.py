"""Long polls: answered when the check ends, when the time is over, or when the service stops; by few queries."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest

from tests.support.http_service import Client, Service
from tests.support.ledger import claimed, examination, submission
from worker.store import CheckFilter, Store


def timed(client: Client, path: str) -> tuple[float, Any]:
    began = time.monotonic()
    answer = client.get(path)
    return time.monotonic() - began, answer.document


def test_whoever_waits_is_answered_when_the_check_ends(client: Client, store: Store) -> None:
    claim = claimed(store)
    threading.Timer(0.5, lambda: store.record(claim, examination())).start()
    seconds, document = timed(client, f"/v1/checks/{claim.check_id}?wait=20")
    assert document["state"] == "done"
    assert 0.4 < seconds < 5
    seconds, _ = timed(client, f"/v1/checks/{claim.check_id}?wait=20")
    assert seconds < 2


def test_a_cancelled_check_ends_the_wait_as_well(client: Client, store: Store) -> None:
    check_id = store.submit(submission()).check_id
    threading.Timer(0.3, lambda: store.cancel(CheckFilter(check_ids=[check_id]))).start()
    assert timed(client, f"/v1/checks/{check_id}?wait=20")[1]["state"] == "cancelled"


def test_when_the_time_is_over_the_check_is_shown_as_it_is(client: Client, store: Store) -> None:
    check_id = store.submit(submission()).check_id
    seconds, document = timed(client, f"/v1/checks/{check_id}?wait=0.5")
    assert document["state"] == "queued"
    assert 0.5 <= seconds < 4
    assert client.get(f"/v1/checks/{check_id}?wait=31").code == "invalid_message"


def test_many_who_wait_share_each_query(client: Client, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []
    original = Store.finished

    def counted(store: Store, check_ids: Sequence[UUID]) -> list[UUID]:
        looks.append(len(check_ids))
        return original(store, check_ids)

    monkeypatch.setattr(Store, "finished", counted)
    check_ids = [store.submit(submission()).check_id for _ in range(20)]
    with ThreadPoolExecutor(40) as pool:
        began = time.monotonic()
        waits = [pool.submit(timed, client, f"/v1/checks/{check_id}?wait=2") for check_id in check_ids * 2]
        assert {wait.result()[1]["state"] for wait in waits} == {"queued"}
        seconds = time.monotonic() - began
    assert len(looks) <= seconds / 0.2 + 1
    assert max(looks) > 1
    after = len(looks)
    time.sleep(0.5)
    assert len(looks) == after, "nobody waits, so nobody looks"


def test_a_service_that_stops_answers_whoever_waits(service: Service, client: Client, store: Store) -> None:
    check_id = store.submit(submission()).check_id
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(timed, client, f"/v1/checks/{check_id}?wait=30")
        time.sleep(0.5)
        service.server.should_exit = True
        seconds, document = waiting.result(20)
    assert document["state"] == "queued"
    assert seconds < 10
