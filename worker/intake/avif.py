"""The container of AVIF. Size and orientation are left to the decoder, which parses them without decoding."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import islice

from worker.intake.announced import Announced, corrupt, truncated, unsupported

MAX_BOXES = 1000

_BRANDS = (b"avif", b"avis")
_HEIC = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"hevx")


def inspect(content: bytes, max_pixels: int) -> Announced:  # noqa: ARG001 (the decoder knows the size)
    """Check that the file is an AVIF and that none of its boxes is cut off. `essence` has no EXIF."""
    boxes = list(islice(_boxes(content), MAX_BOXES + 1))
    if len(boxes) > MAX_BOXES:
        raise corrupt(f"the file has more than {MAX_BOXES} boxes")
    start, end = boxes[0][1:]
    brands = [content[start : start + 4]] + [content[at : at + 4] for at in range(start + 8, end, 4)]
    if not any(brand in _BRANDS for brand in brands):
        name = "HEIC" if any(brand in _HEIC for brand in brands) else "a video or an image of another kind"
        raise unsupported(f"the file is {name}, which is not decoded here", "convert it to JPEG")
    names = {name for name, _, _ in boxes}
    if not names & {b"meta", b"moov"}:
        raise truncated("the file ends before it describes an image")
    return Announced("AVIF", _without_exif(content, boxes), complete=b"mdat" in names)


def _boxes(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and end of the content of each box at the top level."""
    position = 0
    while position < len(content):
        if position + 8 > len(content):
            raise truncated("the file ends within a box")
        length, name = struct.unpack_from(">I4s", content, position)
        header = 8
        if length == 1:
            (length,) = struct.unpack_from(">Q", content, position + 8)
            header = 16
        elif length == 0:
            length = len(content) - position
        if length < header:
            raise corrupt("a box has a length below its own header's")
        if position + length > len(content):
            raise truncated("the file ends within a box")
        yield name, position + header, position + length
        position += length


def _without_exif(content: bytes, boxes: list[tuple[bytes, int, int]]) -> bytes:
    """`content`, in which the EXIF item has a type that nobody reads.

    In AVIF, orientation is a property of the image and not of EXIF; a hostile EXIF would only be parsed in vain.
    Only boxes that describe the image are touched, never the ones with its data.
    """
    described = [(start, end) for name, start, end in boxes if name in (b"meta", b"moov")]
    if not any(content.find(b"Exif", start, end) >= 0 for start, end in described):
        return content
    reduced = bytearray(content)
    for start, end in described:
        reduced[start:end] = content[start:end].replace(b"Exif", b"skip")
    return bytes(reduced)
