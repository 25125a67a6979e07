"""A memory budget for processes that decode side by side: together they take no more than one of them may."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from multiprocessing.context import SpawnContext

from worker.machine.memory import LOOK_EVERY, Reservation


class SharedBudget:
    """Bytes shared by the images of several processes, which are spawned with it.

    As in `MemoryBudget`, an image that exceeds the budget by itself gets its turn when no other one is being processed.
    The order of arrival is not kept: each process has one image at a time, so none waits for long.
    """

    def __init__(self, capacity: int, context: SpawnContext) -> None:
        self.capacity = capacity
        self._changed = context.Condition()
        self._used = context.Value("q", 0, lock=False)
        self._admitted = context.Value("i", 0, lock=False)

    @contextmanager
    def reserve(
        self,
        amount: int,
        *,
        held: int = 0,
        cancelled: threading.Event | None = None,
        pause: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> Iterator[Reservation]:
        """Wait until `held` and `amount` bytes fit; release both at the end. Nothing here is ever `cancelled`."""
        del cancelled
        size = held + amount
        with pause(), self._changed:
            while self._admitted.value and self._used.value + size > self.capacity:
                self._changed.wait(LOOK_EVERY)
            self._admitted.value += 1
            self._used.value += size
        reservation = Reservation(size, self._release)
        try:
            yield reservation
        finally:
            self._change(-reservation.size, -1)

    def _release(self, freed: int) -> None:
        self._change(-freed)

    def _change(self, used: int, admitted: int = 0) -> None:
        with self._changed:
            self._used.value += used
            self._admitted.value += admitted
            self._changed.notify_all()
