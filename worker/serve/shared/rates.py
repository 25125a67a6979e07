"""How many requests an API key may send: one allowance per key, shared by all processes of the service.

The generic cell rate algorithm: of each key only one time is kept, the one at which its allowance is whole again. It
lies in a file that all processes map into memory. A file lock puts them in order, because the kernel frees it when a
process is killed.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from uuid import UUID

from worker.errors import ErrorCode
from worker.serve.problems import RefusedError

BURST_SECONDS = 2.0
"""Seconds whose requests a key may send at once."""
_ROUNDING = 1e-6
"""Seconds; above what sums of floating-point numbers differ by."""
_SLOTS = 4096
_SLOT = struct.Struct("16sd")
"""A key's id, and the time of `time.monotonic()`, the same for all processes, at which its allowance is whole again."""


@contextmanager
def shared_file() -> Iterator[Path]:
    """A file for the allowances of several processes; removed in the end."""
    descriptor, name = tempfile.mkstemp(prefix="susy-rates-")
    try:
        os.ftruncate(descriptor, _SLOTS * _SLOT.size)
        os.close(descriptor)
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


class Rates:
    """The allowances of all keys. For one thread of each process."""

    def __init__(self, rate: float, path: Path | None = None) -> None:
        """`rate` is in requests per second. Without a `path` the allowances are this process's own."""
        self._rate = rate
        self._interval = 1 / rate
        self._tolerance = max(BURST_SECONDS, self._interval)
        self._file: IO[bytes] | None = None
        if path is None:
            self._slots = mmap.mmap(-1, _SLOTS * _SLOT.size)
        else:
            self._file = path.open("r+b")
            self._slots = mmap.mmap(self._file.fileno(), _SLOTS * _SLOT.size)

    def admit(self, key_id: UUID) -> None:
        """Count a request of this key. Raises `RefusedError` (`rate_limited`) when its allowance is used up."""
        with self._locked():
            now = time.monotonic()
            offset, whole_at = self._find(key_id.bytes, now)
            next_whole_at = max(now, whole_at) + self._interval
            excess = next_whole_at - now - self._tolerance
            if excess <= _ROUNDING:
                _SLOT.pack_into(self._slots, offset, key_id.bytes, next_whole_at)
        if excess > _ROUNDING:
            raise RefusedError(
                ErrorCode.RATE_LIMITED,
                f"the API key has sent more than {self._rate:g} requests per second; send fewer, or several checks in"
                " one request",
                retry_after=excess,
            )

    def close(self) -> None:
        self._slots.close()
        if self._file:
            self._file.close()

    def _find(self, key: bytes, now: float) -> tuple[int, float]:
        """The slot of a key, and its time. A slot whose allowance is whole is as good as an empty one."""
        first = int.from_bytes(key[-8:])
        free: int | None = None
        for step in range(_SLOTS):
            offset = (first + step) % _SLOTS * _SLOT.size
            owner, whole_at = _SLOT.unpack_from(self._slots, offset)
            if owner == key:
                return offset, whole_at
            if free is None and whole_at <= now:
                free = offset
            if whole_at == 0.0:  # never used: the key is in no slot behind it
                break
        return (first % _SLOTS * _SLOT.size if free is None else free), now

    @contextmanager
    def _locked(self) -> Iterator[None]:
        if self._file is None:
            yield
            return
        fcntl.lockf(self._file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN)
