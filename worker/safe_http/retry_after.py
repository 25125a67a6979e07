"""The header Retry-After, as untrusted servers send it (RFC 9110, section 10.2.3)."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

LONGEST = 86_400.0
"""Seconds; a longer time that is asked for counts as this one."""


def parse_retry_after(value: str | None, now: datetime | None = None) -> float | None:
    """Seconds to wait, 0 to `LONGEST`, by a number or a date; None when the header is absent or not valid."""
    if value is None:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        return min(float(value[:10]), LONGEST)
    try:
        until = parsedate_to_datetime(value)
    except (ValueError, TypeError, IndexError):
        return None
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return min(max(0.0, (until - (now or datetime.now(UTC))).total_seconds()), LONGEST)
