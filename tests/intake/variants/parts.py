"""Hundreds of files per format, generated: every part of a file omitted, doubled, cut or mis-sized, every form allowed.

Each format's function yields (name, bytes). Pictures are small, so that thousands of files decode in seconds, and the
same bytes come out each time.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from tests.support.corpus import texture

Variant = tuple[str, bytes]
WIDTH, HEIGHT = 61, 43
PICTURE = texture(WIDTH, HEIGHT)


@dataclass(frozen=True)
class Part:
    """A segment, chunk or block: where it lies, and where and how its length is written."""

    name: str
    start: int
    end: int
    length_at: int = 0
    length_format: str = ""
    """`struct` format of the length; empty where the part has none."""


def mutations(base: str, content: bytes, parts: list[Part]) -> Iterator[Variant]:
    """`content` with each of `parts` omitted, doubled, moved, cut, mis-sized, and as the place where the file ends."""
    for number, part in enumerate(parts):
        before, body, after = content[: part.start], content[part.start : part.end], content[part.end :]
        name = f"{base}/{number:02}-{part.name}"
        yield f"{name}/omitted", before + after
        yield f"{name}/doubled", before + body + body + after
        yield f"{name}/byte lost", before + body[:-1] + after
        yield f"{name}/byte added", before + body + b"\x00" + after
        yield f"{name}/file ends before", before
        yield f"{name}/file ends within", before + body[: max(1, len(body) // 2)]
        yield f"{name}/file ends one byte early", before + body[:-1]
        yield f"{name}/file ends after", before + body
        if number + 1 < len(parts):
            following = parts[number + 1]
            moved = content[following.start : following.end] + content[part.end : following.start] + body
            yield f"{name}/swapped", before + moved + content[following.end :]
        if part.length_format:
            width = struct.calcsize(part.length_format)
            (length,) = struct.unpack_from(part.length_format, content, part.length_at)
            largest = (1 << 8 * width) - 1
            for title, value in (
                ("length 0", 0),
                ("length 1", 1),
                ("length less 1", length - 1),
                ("length plus 1", length + 1),
                ("length plus 1000", length + 1000),
                ("length largest", largest),
                ("length half", largest // 2),
            ):
                if 0 <= value <= largest and value != length:
                    field = struct.pack(part.length_format, value)
                    yield (
                        f"{name}/{title}",
                        content[: part.length_at] + field + content[part.length_at + width :],
                    )
