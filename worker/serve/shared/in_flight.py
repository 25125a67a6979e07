"""How many requests a process works on at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from worker.errors import ErrorCode
from worker.serve.problems import RefusedError

MAX_IN_FLIGHT = 500
"""Requests that one process works on at once; those that wait for a check to finish do not count."""


class InFlight:
    """How many requests a process works on."""

    def __init__(self, most: int = MAX_IN_FLIGHT) -> None:
        self._most = most
        self._count = 0

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """Count a request while it is worked on. Raises `RefusedError` (`overloaded`) when there are too many."""
        if self._count >= self._most:
            raise RefusedError(
                ErrorCode.OVERLOADED, f"the service works on {self._most} requests; repeat this later", retry_after=1
            )
        self._count += 1
        try:
            yield
        finally:
            self._count -= 1

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Do not count a request while it only waits."""
        self._count -= 1
        try:
            yield
        finally:
            self._count += 1
