"""How long clients may take, and for how long answers of the ledger are used."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TimeLimits:
    """Seconds that every client has, and that answers of the ledger are used for."""

    header: float = 10.0
    """For a request's line and headers; also how long a new connection may be silent."""
    body: float = 20.0
    """For a body, however small."""
    discarding: float = 2.0
    """For what is left of a body that is not read any more, before it is answered."""
    reading: float = 30.0
    """For making room for more of the answer."""
    backlog_age: float = 1.0
    """For which the age of a source's oldest check is not asked for again."""


DEFAULT_TIMES = TimeLimits()
