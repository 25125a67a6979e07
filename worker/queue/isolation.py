"""Who may be in flight together: a check that ended its process before is tried with nothing beside it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Isolation:
    """Lets many attempts of a process run beside each other, or one alone.

    So an image that kills the process is, from its second attempt on, the only one that pays for it
    (`docs/decisions/0008-poison.md`).
    """

    def __init__(self) -> None:
        self._turnstile = threading.Lock()
        self._changed = threading.Condition()
        self._inside = 0

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Run beside others; waits while one runs alone, or waits to."""
        with self._turnstile, self._changed:
            self._inside += 1
        try:
            yield
        finally:
            self._leave()

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Let nobody in any more, wait until those inside have left, and run."""
        with self._turnstile:
            with self._changed:
                self._changed.wait_for(lambda: self._inside == 0)
            yield

    def _leave(self) -> None:
        with self._changed:
            self._inside -= 1
            self._changed.notify_all()
