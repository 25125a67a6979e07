"""The boxes of an ISO base media file: name, start and end of each."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from worker.intake.container import corrupt, truncated

MAX_BOXES = 10_000
"""Boxes, items, references and pieces of data in one file. The largest grids of phones have some hundred."""


Range = tuple[int, int]
"""Start and end of a part of the file."""


class Boxes:
    """The bytes of a file as boxes. Counts what is read, so that hostile files cannot occupy a worker."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self._left = MAX_BOXES

    def spend(self, count: int = 1) -> None:
        self._left -= count
        if self._left < 0:
            raise corrupt(f"the file has more than {MAX_BOXES} boxes or items")

    def top_level(self) -> Iterator[tuple[bytes, int, int]]:
        """Name, start and end of the body of each box of the file. Bytes that are not a box end it; the last box may
        exceed the file."""
        position = 0
        while position + 8 <= len(self.content):
            self.spend()
            name, body, end = self._box(position, len(self.content))
            if end < body:
                return
            yield name, body, end
            position = end

    def within(self, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
        """Name, start and end of the body of each box within another."""
        while start + 8 <= end:
            self.spend()
            name, body, after = self._box(start, end)
            if not body <= after <= end:
                raise corrupt("the length of a box is wrong")
            yield name, body, after
            start = after

    def find(self, outer: Range, *path: bytes) -> Range | None:
        """The body of a box within others, each the first of its name."""
        for name in path:
            inner = next(((body, end) for kind, body, end in self.within(*outer) if kind == name), None)
            if inner is None:
                return None
            outer = inner
        return outer

    def number(self, at: int, size: int) -> int:
        if at + size > len(self.content):
            raise IndexError
        return int.from_bytes(self.content[at : at + size], "big")

    def joined(self, parts: list[Range]) -> memoryview:
        """The parts one after the other; `truncated` if the file ends within one."""
        if any(end > len(self.content) for _, end in parts):
            raise truncated("the file ends before the image does")
        view = memoryview(self.content)
        if len(parts) == 1:
            return view[slice(*parts[0])]
        self.spend(sum(end - start for start, end in parts) // 100_000)  # so that parts cannot overlap without end
        return memoryview(b"".join(view[start:end] for start, end in parts))

    def _box(self, start: int, end: int) -> tuple[bytes, int, int]:
        length, name = struct.unpack_from(">I4s", self.content, start)
        if length == 1:
            return name, start + 16, start + self.number(start + 8, 8)
        return name, start + 8, start + length if length else end
