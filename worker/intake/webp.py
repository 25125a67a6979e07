"""The container of WebP. Of an animation, the first frame on its canvas is the image."""

from __future__ import annotations

import struct

from worker.intake.announced import Announced, corrupt, require_size, truncated
from worker.intake.orientation import UPRIGHT, read_orientation

MAX_CHUNKS = 100_000
"""Chunks looked at in search of EXIF."""

_HEADER = 12
_EXTENDED = b"VP8X"


def inspect(content: bytes, max_pixels: int) -> Announced:
    """Read the size from the first chunk and the orientation from the EXIF chunk, if there is one."""
    (length,) = struct.unpack_from("<I", content, 4)
    if len(content) >= _HEADER + 18:
        require_size(*_size(content), max_pixels)
    total = 8 + length
    if total > len(content):
        raise truncated("the file ends before the length that it announces")
    if total < _HEADER + 18:
        raise corrupt("the file is shorter than its header")
    return Announced("WEBP", content, _orientation(content, total))


def _size(content: bytes) -> tuple[int, int]:
    """The size of the canvas, from the first 30 bytes."""
    name = content[12:16]
    if name == _EXTENDED:
        return 1 + int.from_bytes(content[24:27], "little"), 1 + int.from_bytes(content[27:30], "little")
    if name == b"VP8 " and content[23:26] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", content, 26)
        return width & 0x3FFF, height & 0x3FFF
    if name == b"VP8L" and content[20] == 0x2F:
        (bits,) = struct.unpack_from("<I", content, 21)
        return (bits & 0x3FFF) + 1, ((bits >> 14) & 0x3FFF) + 1
    raise corrupt("the file does not begin with a WebP image chunk")


def _orientation(content: bytes, total: int) -> int:
    if content[12:16] != _EXTENDED:
        return UPRIGHT
    position = _HEADER
    for _ in range(MAX_CHUNKS):
        if position + 8 > total:
            break
        name, length = struct.unpack_from("<4sI", content, position)
        if name == b"EXIF":
            return read_orientation(content[position + 8 : min(position + 8 + length, total)])
        position += 8 + length + (length & 1)
    return UPRIGHT
