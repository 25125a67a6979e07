"""When a callback is attempted again: the schedule that Standard Webhooks recommends, over about three days."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

RETRY_AFTER = (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""Seconds from each failed attempt to the next one; after the last of them the callback has failed."""
MAX_ATTEMPTS = len(RETRY_AFTER) + 1
JITTER = 0.2
"""Largest share by which a wait is longer, so that what failed together does not return together."""
LONGEST_REQUESTED = 86_400.0
"""Seconds of a Retry-After that are honoured."""


def next_wait(attempts: int, requested: float | None = None) -> float | None:
    """Seconds until the next attempt after so many have failed; None when there is none.

    `requested` is what the endpoint asked for by `Retry-After`; it makes the wait longer, never shorter.
    """
    if attempts >= MAX_ATTEMPTS:
        return None
    wait = RETRY_AFTER[attempts - 1] * random.uniform(1.0, 1.0 + JITTER)  # noqa: S311 (not used for security)
    return max(wait, min(requested or 0.0, LONGEST_REQUESTED))


def parse_retry_after(value: str | None, now: datetime | None = None) -> float | None:
    """Seconds that a `Retry-After` header asks for, a number or a date; None when it is absent or not valid."""
    if value is None:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        return min(float(value[:10]), LONGEST_REQUESTED)
    try:
        until = parsedate_to_datetime(value)
    except (ValueError, TypeError, IndexError):
        return None
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return min(max(0.0, (until - (now or datetime.now(UTC))).total_seconds()), LONGEST_REQUESTED)
