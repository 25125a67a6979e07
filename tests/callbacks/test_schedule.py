from __future__ import annotations

from datetime import UTC, datetime

import pytest

from worker.callbacks.schedule import JITTER, MAX_ATTEMPTS, RETRY_AFTER, next_wait

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_the_schedule_is_that_of_the_standard_over_about_three_days() -> None:
    assert RETRY_AFTER == (5, 5 * 60, 30 * 60, 2 * 3600, 5 * 3600, 10 * 3600, 14 * 3600, 20 * 3600, 24 * 3600)
    assert sum(RETRY_AFTER) == 75 * 3600 + 35 * 60 + 5
    assert next_wait(MAX_ATTEMPTS) is None


@pytest.mark.parametrize("attempts", range(1, MAX_ATTEMPTS))
def test_waits_are_never_shorter_than_the_schedule_and_vary(attempts: int) -> None:
    waits = [next_wait(attempts) for _ in range(50)]
    scheduled = RETRY_AFTER[attempts - 1]
    assert all(wait is not None and scheduled <= wait <= scheduled * (1 + JITTER) for wait in waits)
    assert len(set(waits)) > 1


def test_what_the_endpoint_requests_makes_a_wait_longer_up_to_a_day() -> None:
    assert next_wait(1, requested=1.0) < 10  # type: ignore[operator]
    assert next_wait(1, requested=60.0) == 60.0
