"""A bounded queue whose reader takes many items at once, and which can be closed without a race."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Generic, TypeVar

Item = TypeVar("Item")


class TileQueue(Generic[Item]):
    """First in, first out, at most `capacity` waiting. Writers wait for room, the reader for items."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._items: deque[Item] = deque()
        self._closed = False
        self._changed = threading.Condition()

    def put(self, item: Item) -> bool:
        """Add one item, waiting for room; False when the queue is closed and the item was not taken."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or len(self._items) < self._capacity)
            if self._closed:
                return False
            self._items.append(item)
            self._changed.notify_all()
            return True

    def take(self, limit: int, gather: float) -> list[Item]:
        """Up to `limit` items: waits for the first, then at most `gather` seconds for more.

        Empty only when the queue is closed and everything in it was taken.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._items)
            until = time.monotonic() + gather
            while len(self._items) < limit and not self._closed and (left := until - time.monotonic()) > 0:
                self._changed.wait(left)
            taken = [self._items.popleft() for _ in range(min(limit, len(self._items)))]
            self._changed.notify_all()
            return taken

    def close(self) -> None:
        """Refuse new items; what is inside can still be taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
