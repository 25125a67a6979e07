"""WebP. Of an animation, the first frame on its canvas is the image."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import partial
from io import BytesIO
from itertools import islice

from PIL import Image as Pillow
from PIL import WebPImagePlugin

from worker.intake.container import UPRIGHT, Container, corrupt, read_orientation, require_size, truncated

MAX_CHUNKS = 100_000
"""Chunks that are searched for EXIF."""

BYTES_PER_PIXEL = 15
"""What libwebp's decoder of animations, which Pillow uses for all files, and Pillow's copies take."""

_HEADER = 12
_FLAGS = 20
_EXIF, _ALPHA, _ANIMATION = 0x08, 0x10, 0x02


def read_webp(content: bytes, max_pixels: int) -> Container:
    """Read the size from the first chunk, and the orientation from the EXIF chunk if there is one."""
    (length,) = struct.unpack_from("<I", content, 4)
    if len(content) >= _HEADER + 18:
        require_size(*_size(content), max_pixels)
    total = 8 + length
    if total > len(content):
        raise truncated("the file ends before the length that it declares")
    if total < _HEADER + 18:
        raise corrupt("the file is shorter than its header")
    canvas = _size(content)
    flags = content[_FLAGS] if content[12:16] == b"VP8X" else 0
    if flags & _ANIMATION:
        # With this flag, what the frame does not cover comes out as transparent instead of black.
        content = b"".join((content[:_FLAGS], bytes((flags | _ALPHA,)), content[_FLAGS + 1 :]))
    return Container(
        format="WEBP",
        canvas=canvas,
        picture=(0, 0, *canvas),
        loading_bytes=BYTES_PER_PIXEL * canvas[0] * canvas[1],
        loaded_bytes=BYTES_PER_PIXEL * canvas[0] * canvas[1],
        load=partial(_load, content),
        animated=bool(flags & _ANIMATION) and _frames(content, total) > 1,
        orientation=_orientation(content, total) if flags & _EXIF else UPRIGHT,
    )


def _size(content: bytes) -> tuple[int, int]:
    """Width and height of the canvas, from the first 30 bytes."""
    name = content[12:16]
    if name == b"VP8X":
        return 1 + int.from_bytes(content[24:27], "little"), 1 + int.from_bytes(content[27:30], "little")
    if name == b"VP8 " and content[23:26] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", content, 26)
        return width & 0x3FFF, height & 0x3FFF
    if name == b"VP8L" and content[20] == 0x2F:
        (bits,) = struct.unpack_from("<I", content, 21)
        return (bits & 0x3FFF) + 1, ((bits >> 14) & 0x3FFF) + 1
    raise corrupt("the file does not begin with a WebP image chunk")


def _chunks(content: bytes, total: int) -> Iterator[tuple[bytes, bytes]]:
    """Name and body of each chunk; the file's end cuts the last one."""
    position = _HEADER
    for _ in range(MAX_CHUNKS):
        if position + 8 > total:
            break
        name, length = struct.unpack_from("<4sI", content, position)
        yield name, content[position + 8 : min(position + 8 + length, total)]
        position += 8 + length + (length & 1)


def _orientation(content: bytes, total: int) -> int:
    blocks = (body for name, body in _chunks(content, total) if name == b"EXIF")
    return next((read_orientation(block.removeprefix(b"Exif\x00\x00")) for block in blocks), UPRIGHT)


def _frames(content: bytes, total: int) -> int:
    """How many frames an animation has; 2 for two and more."""
    return len(list(islice((name for name, _ in _chunks(content, total) if name == b"ANMF"), 2)))


def _load(content: bytes) -> Pillow.Image:
    with WebPImagePlugin.WebPImageFile(BytesIO(content)) as image:
        image.load()
        return image
