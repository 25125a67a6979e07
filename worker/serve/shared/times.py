"""How long clients may take, and how long results of the ledger are cached."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TimeLimits:
    """Seconds that every client has, and for which results of the ledger are cached."""

    header: float = 10.0
    """For a request's line and headers; also how long a new connection may be silent."""
    body: float = 20.0
    """For a body, however small."""
    discarding: float = 2.0
    """For what is left of a body that is not read any more, before it is answered."""
    reading: float = 30.0
    """For making room for more of the answer."""
    backlog_age: float = 1.0
    """How long the age of a source's oldest check is cached."""


DEFAULT_TIMES = TimeLimits()
