"""The container of PNG. Of an animated PNG, the image that viewers without animation show."""

from __future__ import annotations

import struct
import zlib

from worker.intake.announced import Announced, corrupt, require_size, truncated
from worker.intake.orientation import UPRIGHT, read_orientation
from worker.intake.rgb import ColorKey

MAX_CHUNKS = 100_000
"""Encoders fill chunks with kilobytes; millions of empty ones serve only to keep a worker busy."""

_GRAY, _RGB = 0, 2
_SIGNATURE = 8


def inspect(content: bytes, max_pixels: int) -> Announced:
    """Walk the chunks up to IEND. `essence` has only the chunks that make pixels, each with a correct checksum."""
    view = memoryview(content)
    parts: list[memoryview] = [view[:_SIGNATURE]]
    orientation, key, has_pixels = UPRIGHT, None, False
    position = _SIGNATURE
    name, depth, color = b"", 0, 0
    chunks = 0
    while name != b"IEND":
        chunks += 1
        if chunks > MAX_CHUNKS:
            raise corrupt(f"the image has more than {MAX_CHUNKS} chunks")
        if position + 8 > len(content):
            raise truncated("the file ends before its IEND chunk")
        length, name = struct.unpack_from(">I4s", content, position)
        if not name.isalpha():
            raise corrupt("a chunk has no valid name")
        if position == _SIGNATURE and (name != b"IHDR" or length != 13):
            raise corrupt("the file does not begin with an IHDR chunk")
        end = position + 12 + length
        if position == _SIGNATURE and position + 21 <= len(content):
            width, height, depth, color = struct.unpack_from(">IIBB", content, position + 8)
            require_size(width, height, max_pixels)
        if end > len(content):
            raise truncated(f"the file ends within its {name.decode()} chunk")
        body = view[position + 8 : end - 4]
        if name in (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"):
            _need_checksum(name, body, content, end)
            if name == b"tRNS" and color in (_GRAY, _RGB):
                key = _color_key(bytes(body), depth, color)
            else:
                parts.append(view[position:end])
        elif name == b"eXIf":
            orientation = read_orientation(bytes(body))
        has_pixels = has_pixels or name == b"IDAT"
        position = end
    if not has_pixels:
        raise corrupt("the image has no IDAT chunk")
    return Announced("PNG", b"".join(parts), orientation, key)


def _need_checksum(name: bytes, body: memoryview, content: bytes, end: int) -> None:
    (stored,) = struct.unpack_from(">I", content, end - 4)
    if zlib.crc32(body, zlib.crc32(name)) != stored:
        raise corrupt(f"the checksum of an {name.decode()} chunk is wrong")


def _color_key(body: bytes, depth: int, color: int) -> ColorKey | None:
    """The transparent color in the range that pixels are decoded to: 8 bits, but 16 for 16-bit gray.

    Taken out of the file because the decoder compares it with pixels of another range when the depth is not 8.
    """
    channels = 1 if color == _GRAY else 3
    if len(body) != 2 * channels:
        return None
    samples = struct.unpack(f">{channels}H", body)
    if depth == 16:
        return samples if color == _GRAY else tuple(sample >> 8 for sample in samples)
    highest = (1 << depth) - 1
    return tuple((sample & highest) * 255 // highest for sample in samples) if highest else None
