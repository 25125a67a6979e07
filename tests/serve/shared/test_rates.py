"""The allowance of a key: a burst, a rate, shared by processes, and given back when one is killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from schema.access import Scope
from tests.support.http_service import Service
from worker.errors import ErrorCode
from worker.serve.problems import RefusedError
from worker.serve.shared import rates
from worker.serve.shared.rates import Rates, shared_file
from worker.store import Store

KEY = uuid4()


def admitted(rates: Rates, key: UUID = KEY, attempts: int = 100) -> int:
    """How many of so many requests at once are let through."""
    passed = 0
    for _ in range(attempts):
        try:
            rates.admit(key)
        except RefusedError:
            continue
        passed += 1
    return passed


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(rates.time, "monotonic", lambda: now[0])
    return now


def test_a_burst_of_two_seconds_passes_and_then_the_rate(clock: list[float]) -> None:
    limited = Rates(10.0)
    assert admitted(limited) == 20
    with pytest.raises(RefusedError) as refused:
        limited.admit(KEY)
    assert (refused.value.code, refused.value.retry_after) == (ErrorCode.RATE_LIMITED, pytest.approx(0.1))
    clock[0] += 0.5
    assert admitted(limited) == 5
    clock[0] += 3600
    assert admitted(limited) == 20
    assert admitted(limited, uuid4()) == 20, "another key has an allowance of its own"


def test_less_than_one_request_per_burst_still_lets_one_pass(clock: list[float]) -> None:
    limited = Rates(0.1)
    assert admitted(limited) == 1
    clock[0] += 10
    assert admitted(limited) == 1


def test_keys_in_one_place_of_the_table_do_not_share_an_allowance(clock: list[float]) -> None:
    limited = Rates(10.0)
    keys = [UUID(int=rates._SLOTS * number) for number in range(1, 50)]
    assert [admitted(limited, key) for key in keys] == [20] * len(keys)
    assert [admitted(limited, key) for key in keys] == [0] * len(keys)


def test_a_full_table_forgets_nobody_who_is_limited(clock: list[float]) -> None:
    limited = Rates(10.0)
    assert admitted(limited) == 20
    for number in range(2 * rates._SLOTS):
        limited.admit(UUID(int=number))
        clock[0] += 0.0001
    clock[0] -= 0.0001 * 2 * rates._SLOTS
    assert admitted(limited) <= 1


def test_processes_share_one_allowance_and_a_killed_one_holds_no_lock() -> None:
    with shared_file() as path:
        one, other = Rates(0.5, path), Rates(0.5, path)
        assert admitted(one) + admitted(other) == 1
        process = multiprocessing.get_context("fork").Process(target=_hold_the_lock, args=(path,))
        process.start()
        while not path.with_suffix(".held").exists():
            time.sleep(0.01)
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        path.with_suffix(".held").unlink()
        assert admitted(one, uuid4()) == 1
        one.close()
        other.close()
    assert not path.exists()


def _hold_the_lock(path: Path) -> None:
    with Rates(1.0, path)._locked():
        path.with_suffix(".held").touch()
        time.sleep(60)


@pytest.fixture
def serve_changes() -> dict[str, object]:
    return {"serve_rate": 2.0}


def test_a_key_that_sends_too_much_is_told_when_to_come_again(service: Service, store: Store) -> None:
    busy = service.client(store.keys.add("busy", [Scope.READ]))
    calm = service.client(store.keys.add("calm", [Scope.READ]))
    answers = [busy.get("/v1/events") for _ in range(8)]
    refused = [answer for answer in answers if answer.status == 429]
    assert refused
    assert {answer.code for answer in refused} == {"rate_limited"}
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
    assert calm.get("/v1/events").status == 200
