"""How much memory images take at once in one process: a budget, and the order in which they get their share.

Decoding takes up to 18 bytes per pixel, so that a few large images could exhaust a machine. Each image therefore
reserves what its header says it takes, and waits for its turn while others use the budget. `SUSY_MEMORY` is the budget;
by default it follows from the memory that this process may use.
"""

from __future__ import annotations

import ctypes
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Protocol, Self

from worker.errors import ErrorCode, TransientError
from worker.machine import cgroups

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
"""Of `malloc.h`."""
_KEPT, _FROM_HEAP = 128 << 20, 32 << 20
"""Bytes that glibc keeps at the end of its heap until `trim_heap`, above what a forward pass frees; and the largest
block that it takes from the heap, at the most that it accepts."""
LOOK_EVERY = 0.5
"""Seconds between two looks at whether a waiting image is still wanted."""
TRIM_AFTER = 20.0
"""Seconds after an image at which the C library returns to the kernel what it has kept of freed memory."""


class Reservation:
    """The share of one image in a budget. For one thread."""

    def __init__(self, size: int, release: Callable[[int], None]) -> None:
        self.size = size
        """Bytes."""
        self._release = release

    def reduce_to(self, size: int) -> None:
        """Give back what exceeds `size` bytes."""
        freed = max(0, self.size - size)
        self.size -= freed
        self._release(freed)


class Budget(Protocol):
    """What an image reserves its memory in."""

    def reserve(
        self,
        amount: int,
        *,
        held: int = 0,
        cancelled: threading.Event | None = None,
        pause: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> AbstractContextManager[Reservation]: ...


class MemoryBudget:
    """Bytes shared by the images of a process, first come, first served. Thread-safe.

    An image that exceeds the budget by itself gets its turn as soon as no other one is being processed. A small image
    never passes a large one that waits, so that a large one is not starved.
    """

    def __init__(self, capacity: int, *, trim_after: float = TRIM_AFTER) -> None:
        self.capacity = capacity
        self._trim_after = trim_after
        self._is_trim_due = False
        share_one_heap()
        self._used = 0
        self._admitted = 0
        self._waiting: deque[Reservation] = deque()
        self._changed = threading.Condition()

    @classmethod
    def of_machine(cls) -> Self:
        """The default: half of the memory that this process may use."""
        return cls(default_budget())

    @property
    def used(self) -> int:
        """Bytes reserved at this moment, those that waiting images already hold included."""
        with self._changed:
            return self._used

    @contextmanager
    def reserve(
        self,
        amount: int,
        *,
        held: int = 0,
        cancelled: threading.Event | None = None,
        pause: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> Iterator[Reservation]:
        """Wait until `amount` more bytes fit beside the `held` ones that the image already takes; release both at the
        end.

        `pause` surrounds the time of waiting. Raises `TransientError` (`lease_lost`) when `cancelled` is set before its
        turn comes.
        """
        reservation = Reservation(held, self._release)
        with pause():
            self._wait(reservation, amount, cancelled)
        try:
            yield reservation
        finally:
            with self._changed:
                self._used -= reservation.size
                self._admitted -= 1
                self._changed.notify_all()
            self._trim_later()

    def _trim_later(self) -> None:
        """Once for all images of the next `trim_after` seconds: nothing is allocated for the milliseconds it takes."""
        with self._changed:
            if self._is_trim_due:
                return
            self._is_trim_due = True
        timer = threading.Timer(self._trim_after, self._trim)
        timer.name, timer.daemon = "memory-trim", True
        timer.start()

    def _trim(self) -> None:
        with self._changed:
            self._is_trim_due = False
        trim_heap()

    @contextmanager
    def arriving(self) -> Iterator[Callable[[int], None]]:
        """Count bytes that are received for an image whose turn has not come; released at the end of the block.

        Yields a function that adds to them. It never waits: what has begun to arrive is not held up, and images that
        wait for memory wait for it.
        """
        total = 0

        def add(size: int) -> None:
            nonlocal total
            with self._changed:
                total += size
                self._used += size

        try:
            yield add
        finally:
            with self._changed:
                self._used -= total
                self._changed.notify_all()

    def _wait(self, reservation: Reservation, amount: int, cancelled: threading.Event | None) -> None:
        with self._changed:
            self._used += reservation.size
            self._waiting.append(reservation)
            try:
                while not self._fits(reservation, amount):
                    self._changed.wait(LOOK_EVERY)
                    _require_wanted(cancelled)
                self._admitted += 1
                self._used += amount
                reservation.size += amount
            except BaseException:
                self._used -= reservation.size
                raise
            finally:
                self._waiting.remove(reservation)
                self._changed.notify_all()

    def _fits(self, reservation: Reservation, amount: int) -> bool:
        is_first = self._waiting[0] is reservation
        return is_first and (self._used + amount <= self.capacity or not self._admitted)

    def _release(self, freed: int) -> None:
        with self._changed:
            self._used -= freed
            self._changed.notify_all()


def share_one_heap() -> None:
    """Make all threads allocate from one heap, where the C library is glibc.

    glibc gives each thread a heap of its own and keeps in it what the thread has freed, up to some 60 MB each: four
    threads that decode in turn would keep three times the memory of one image. Processes that examine images call this
    before they start threads and import what does: a thread keeps the heap that it has used.

    glibc also keeps some of the memory that a forward pass frees for the next one. By itself it returns it at once, and
    the kernel clears thousands of pages again for each pass, which took 4 to 10 % of its time.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 1)
        mallopt(_M_MMAP_THRESHOLD, _FROM_HEAP)
        mallopt(_M_TRIM_THRESHOLD, _KEPT)


def trim_heap() -> None:
    """Return the freed pages of the heap to the kernel, where the C library is glibc.

    glibc returns only what lies at the end of its heap, and a heap in which one small block lies behind a large image
    stays as large as it was: a process would keep the peak of the images that were in flight together.
    """
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if malloc_trim is not None:
        malloc_trim(0)


def _require_wanted(cancelled: threading.Event | None) -> None:
    if cancelled is not None and cancelled.is_set():
        raise TransientError(ErrorCode.LEASE_LOST, "the lease was lost while the image waited for memory")


def default_budget() -> int:
    """Half of the memory that this process may use: the rest is for the process itself and for its neighbours."""
    return available_memory() // 2


def available_memory(root: Path = Path("/")) -> int:
    """Bytes that this process may use: the machine's memory, or the limit of its cgroup (v1 or v2) if that is lower."""
    total = next(
        int(line.split()[1]) * 1024
        for line in (root / "proc/meminfo").read_text().splitlines()
        if line.startswith("MemTotal:")
    )
    return min([total, *_limits(root)])


def _limits(root: Path) -> Iterator[int]:
    for folder, version in cgroups.folders("memory", root):
        with suppress(OSError, ValueError):  # absent, or `max`
            yield int((folder / ("memory.max" if version == 2 else "memory.limit_in_bytes")).read_text())
