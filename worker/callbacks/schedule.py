"""When a callback is attempted again: the schedule that Standard Webhooks recommends, over about three days."""

from __future__ import annotations

import random

RETRY_AFTER = (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""Seconds from each failed attempt to the next one; after the last of them the callback has failed."""
MAX_ATTEMPTS = len(RETRY_AFTER) + 1
JITTER = 0.2
"""Largest share by which a wait is longer, so that what failed together does not return together."""


def next_wait(attempts: int, requested: float | None = None) -> float | None:
    """Seconds until the next attempt after so many have failed; None when there is none.

    `requested` is what the endpoint asked for by `Retry-After`; in seconds; it makes the wait longer, never shorter.
    """
    if attempts >= MAX_ATTEMPTS:
        return None
    wait = RETRY_AFTER[attempts - 1] * random.uniform(1.0, 1.0 + JITTER)  # noqa: S311 (not used for security)
    return max(wait, requested or 0.0)
