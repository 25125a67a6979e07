"""A queue that serves its writers in turn, and whose reader takes many items at once."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class FairQueue(Generic[Item]):
    """Each writer adds a line of items; the reader takes one item of each line in turn.

    A short line is therefore served after a few rounds, however long the others are.
    """

    def __init__(self) -> None:
        self._lines: deque[deque[Item]] = deque()
        self._closed = False
        self._changed = threading.Condition()

    def put(self, items: Iterable[Item]) -> bool:
        """Add a line; False when the queue is closed, and the line was not added."""
        line = deque(items)
        with self._changed:
            if not self._closed and line:
                self._lines.append(line)
                self._changed.notify()
            return not self._closed

    def take(self, limit: int, gather: float) -> list[Item]:
        """Up to `limit` items: waits for the first, then at most `gather` seconds for more.

        Empty only when the queue is closed and everything in it was taken.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._lines)
            until = time.monotonic() + gather
            while self._waiting() < limit and not self._closed and (left := until - time.monotonic()) > 0:
                self._changed.wait(left)
            taken: list[Item] = []
            while self._lines and len(taken) < limit:
                line = self._lines.popleft()
                taken.append(line.popleft())
                if line:
                    self._lines.append(line)
            return taken

    def close(self) -> None:
        """Refuse new lines; what is queued can still be taken."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _waiting(self) -> int:
        return sum(map(len, self._lines))
