"""A queue that serves its writers in turn, and whose readers take many items at once."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

Item = TypeVar("Item")


def _keep(_item: object) -> bool:
    return False


class FairQueue(Generic[Item]):
    """Each writer adds a line of items; a reader takes one item of each line in turn.

    A short line is therefore served after a few rounds, however long the others are. Any number of threads may write
    and read. `drop` is asked about the first item of every line before items are taken: a line for which it answers
    True is removed and reaches no reader.
    """

    def __init__(self, drop: Callable[[Item], bool] = _keep) -> None:
        self._lines: deque[deque[Item]] = deque()
        self._drop = drop
        self._closed = False
        self._idle = 0  # readers that wait for items
        self._changed = threading.Condition()

    def put(self, items: Iterable[Item]) -> bool:
        """Add a line; False when the queue is closed, and the line was not added."""
        line = deque(items)
        with self._changed:
            if not self._closed and line:
                self._lines.append(line)
                self._changed.notify_all()
            return not self._closed

    def take(self, limit: int, gather: float) -> list[Item]:
        """Up to `limit` items: waits for the first, then at most `gather` seconds for more.

        Of few items a reader takes only its share when others wait too. Empty only when the queue is closed and
        everything in it was taken.
        """
        with self._changed:
            while True:
                self._idle += 1
                self._changed.wait_for(lambda: self._closed or self._lines)
                until = time.monotonic() + gather
                while self._waiting() < limit and not self._closed and (left := until - time.monotonic()) > 0:
                    self._changed.wait(left)
                self._lines = deque(line for line in self._lines if not self._drop(line[0]))
                share = -(-self._waiting() // self._idle)
                self._idle -= 1
                taken = self._take(min(limit, share))
                if taken or (self._closed and not self._lines):
                    return taken

    def close(self) -> None:
        """Refuse new lines; what is queued can still be taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _take(self, limit: int) -> list[Item]:
        taken: list[Item] = []
        while self._lines and len(taken) < limit:
            line = self._lines.popleft()
            taken.append(line.popleft())
            if line:
                self._lines.append(line)
        return taken

    def _waiting(self) -> int:
        return sum(map(len, self._lines))
