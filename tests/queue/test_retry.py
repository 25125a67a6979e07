"""Waiting for a service that is unavailable: how long, how often it is said, and that the clock stops meanwhile."""

from __future__ import annotations

import logging

import pytest

from worker.errors import ErrorCode, PermanentError, TransientError
from worker.queue import retry
from worker.queue.retry import Outage, backoff, retry_while_unavailable

AWAY = TransientError(ErrorCode.DATABASE_UNAVAILABLE, "Postgres at db:5432 is unavailable")


@pytest.mark.parametrize("failures", [1, 2, 3, 8, 9, 10, 100, 10_000])
def test_the_backoff_doubles_to_a_bound_and_has_jitter(failures: int) -> None:
    doubled = min(600.0, 2.0 * 2 ** min(failures - 1, 20))
    waits = [backoff(failures, first=2.0, longest=600.0) for _ in range(200)]
    assert all(0.5 * doubled <= wait <= 1.5 * doubled for wait in waits)
    assert max(waits) > 1.2 * min(waits)


def test_a_call_is_repeated_until_the_service_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("time.sleep", slept.append)
    answers = iter([AWAY, AWAY, 7])

    def call(left: int, *, right: int) -> int:
        answer = next(answers)
        if isinstance(answer, TransientError):
            raise answer
        return answer * left + right

    assert retry_while_unavailable(call, 2, right=1) == 15
    assert [wait <= 1.5 * longest for wait, longest in zip(slept, (0.5, 1.0), strict=True)] == [True, True]


def test_a_permanent_failure_is_not_repeated() -> None:
    calls = []

    def call() -> None:
        calls.append(1)
        raise PermanentError(ErrorCode.CONFLICT, "accepted before")

    with pytest.raises(PermanentError):
        retry_while_unavailable(call)
    assert calls == [1]


def test_an_outage_is_logged_once_when_it_begins_and_once_when_it_ends(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, retry.__name__)
    outage = Outage()
    outage.ended()
    for _ in range(3):
        outage.began(AWAY)
    outage.began(TransientError(ErrorCode.QUEUE_UNAVAILABLE, "Redis did not answer"))
    outage.ended()
    outage.ended()
    outage.began(AWAY)
    assert [record.getMessage() for record in caplog.records] == [
        "service_unavailable", "service_unavailable", "service_available", "service_unavailable",
    ]  # fmt: skip
