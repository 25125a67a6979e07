"""The container of GIF, of which the first frame is the image."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from worker.intake.announced import Announced, corrupt, require_size, truncated

MAX_BLOCKS = 1_000_000
"""Blocks and stray bytes before the end of the first frame. A block holds up to 255 bytes, and encoders fill them;
millions of short ones serve only to keep a worker busy."""

_EXTENSION, _FRAME, _TRAILER = 0x21, 0x2C, 0x3B
_GRAPHIC_CONTROL = 0xF9
_HEADER = 13


def inspect(content: bytes, max_pixels: int) -> Announced:
    """Walk the blocks up to the end of the first frame. `essence` is a GIF of that frame alone."""
    screen_width, screen_height, flags = struct.unpack_from("<HHB", content, 6)
    position = _HEADER + _palette_bytes(flags)
    palette = content[_HEADER:position]
    control = b""
    budget = iter(range(MAX_BLOCKS))
    while True:
        _spend(budget)
        if position >= len(content):
            raise truncated("the file ends before its first frame")
        kind = content[position]
        if kind == _TRAILER:
            raise corrupt("the image has no frame")
        if kind == _EXTENSION:
            end = _end_of_blocks(content, position + 2, budget)
            if content[position + 1] == _GRAPHIC_CONTROL and content[position + 2] == 4:
                control = content[position : position + 8]
            position = end
        elif kind == _FRAME:
            break
        else:
            position += 1  # Stray bytes between blocks are common enough that viewers skip them.
    x, y, width, height, frame_flags = struct.unpack_from("<HHHHB", content, position + 1)
    require_size(width, height, max_pixels)
    # A first frame that juts out of the screen widens it, as in browsers.
    screen_width, screen_height = max(screen_width, x + width), max(screen_height, y + height)
    require_size(screen_width, screen_height, max_pixels)
    if max(screen_width, screen_height) > 0xFFFF:
        raise corrupt("the first frame lies outside of what a GIF can hold")
    end = _end_of_blocks(content, position + 10 + _palette_bytes(frame_flags) + 1, budget)
    if control:
        # How the frame makes way for the next one (disposal) does not matter; whether it has a transparent color does.
        control = bytes((_EXTENSION, _GRAPHIC_CONTROL, 4, control[3] & 1, 0, 0, control[6], 0))
    header = content[:6] + struct.pack("<HHB", screen_width, screen_height, flags) + content[11:_HEADER]
    return Announced("GIF", b"".join((header, palette, control, content[position:end], b";")))


def _palette_bytes(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _spend(budget: Iterator[int]) -> None:
    if next(budget, None) is None:
        raise corrupt(f"the image has more than {MAX_BLOCKS} blocks")


def _end_of_blocks(content: bytes, position: int, budget: Iterator[int]) -> int:
    """The place after the sub-blocks that begin at `position`: a length and as many bytes each, until a length of 0."""
    while position < len(content):
        _spend(budget)
        length = content[position]
        position += 1 + length
        if length == 0:
            return position
    raise truncated("the file ends within its first frame")
