"""GIF. The first frame is the image."""

from __future__ import annotations

import struct
from functools import partial

from PIL import Image as Pillow

from worker.errors import PermanentError
from worker.intake.container import Container, corrupt, require_size

MAX_BLOCKS = 1_000_000
"""Blocks up to the end of the first frame. A block has up to 255 bytes, and encoders fill them; millions of short ones
serve only to occupy a worker."""

_EXTENSION, _FRAME, _TRAILER = 0x21, 0x2C, 0x3B
_GRAPHIC_CONTROL = 0xF9
_HEADER = 13
_CODE_SIZES = range(1, 9)


def read_gif(content: bytes, max_pixels: int) -> Container:
    """Walk the blocks up to the end of the first frame.

    As in browsers, a frame that exceeds the screen widens it, and the rest of a screen that the frame does not cover
    is transparent: the background color is ignored, and so is how the frame is disposed of.
    """
    screen_width, screen_height, flags = struct.unpack_from("<HHB", content, 6)
    position = _HEADER + _palette_bytes(flags)
    palette = content[_HEADER:position]
    transparent: int | None = None
    blocks = MAX_BLOCKS
    while (kind := content[position]) == _EXTENSION:
        end, _, blocks = _end_of_blocks(content, position + 2, blocks)
        if content[position + 1] == _GRAPHIC_CONTROL:
            size, control, index = content[position + 2], content[position + 3], content[position + 6]
            if size != 4:
                raise corrupt("a graphic control is not of its length")
            transparent = index if control & 1 else None
        position = end
    if kind != _FRAME:
        raise corrupt("the image has no frame" if kind == _TRAILER else "there are stray bytes before the first frame")
    left, top, width, height, frame_flags = struct.unpack_from("<HHHHB", content, position + 1)
    require_size(width, height, max_pixels)
    canvas = max(screen_width, left + width), max(screen_height, top + height)
    require_size(*canvas, max_pixels)
    start = position + 10
    code_size_at = start + _palette_bytes(frame_flags)
    if frame_flags & 0x80:
        palette = content[start:code_size_at]
    code_size = content[code_size_at]
    if code_size not in _CODE_SIZES:
        raise corrupt(f"the pixels have {code_size} bits")
    data, complete, end = _frame_data(content, code_size_at + 1, blocks)
    return Container(
        format="GIF",
        canvas=canvas,
        picture=(left, top, width, height),
        loading_bytes=width * height,
        loaded_bytes=width * height,
        load=partial(_load, (width, height), data, code_size, bool(frame_flags & 0x40), palette, transparent),
        animated=complete and _has_frame(content, end),
        complete=complete,
    )


def _palette_bytes(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _end_of_blocks(content: bytes, position: int, blocks: int) -> tuple[int, int, int]:
    """Where a chain of blocks (a length and as many bytes each, until a length of 0) ends, where its last block begins,
    and how many of `blocks` are left. Without the length of 0, it ends beyond the file."""
    last = position
    while position < len(content):
        blocks -= 1
        if blocks < 0:
            raise corrupt(f"the image has more than {MAX_BLOCKS} blocks")
        length = content[position]
        if length == 0:
            return position + 1, last, blocks
        last = position
        position += 1 + length
    return max(position, len(content) + 1), last, blocks


def _has_frame(content: bytes, position: int) -> bool:
    """Whether a frame begins at `position`, after extensions. Faults in what follows the first frame do not count."""
    blocks = MAX_BLOCKS
    while position + 1 < len(content) and content[position] == _EXTENSION:
        try:
            position, _, blocks = _end_of_blocks(content, position + 2, blocks)
        except PermanentError:
            return False
    return position < len(content) and content[position] == _FRAME


def _frame_data(content: bytes, start: int, blocks: int) -> tuple[bytes, bool, int]:
    """The blocks of the frame, whether they are all there, and where they end. One that the file cuts is shortened to
    what is left."""
    end, last, _ = _end_of_blocks(content, start, blocks)
    if end <= len(content):
        return content[start:end], True, end
    rest = content[last + 1 :]
    return content[start:last] + bytes((min(255, len(rest)),)) + rest, False, end


def _load(
    size: tuple[int, int], data: bytes, code_size: int, interlaced: bool, palette: bytes, transparent: int | None
) -> Pillow.Image:
    image = Pillow.frombytes("P", size, data, "gif", code_size, interlaced)
    colors = palette.ljust(768, b"\x00")
    entries = (
        colors[3 * index : 3 * index + 3] + (b"\x00" if index == transparent else b"\xff") for index in range(256)
    )
    image.putpalette(b"".join(entries), "RGBA")
    return image
