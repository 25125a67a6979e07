"""The container of JPEG, and of MPO, which is a JPEG with further ones behind it."""

from __future__ import annotations

import re
import struct

from worker.intake.announced import Announced, corrupt, require_size, truncated, unsupported
from worker.intake.orientation import UPRIGHT, read_orientation

MAX_SCANS = 100
"""Scans of one image. Cameras and encoders write up to about twenty; each one costs the decoder a pass over all
blocks, however few bytes it has, so without a bound a small file could hold a worker for hours."""
MAX_SEGMENTS = 10_000

_SOI, _EOI, _SOS = 0xD8, 0xD9, 0xDA
_APP0, _APP1, _APP2, _APP14, _APP15, _COMMENT = 0xE0, 0xE1, 0xE2, 0xEE, 0xEF, 0xFE
_DECODABLE = (0xC0, 0xC1, 0xC2)
_OTHER_PROCESSES = (0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF)
_WITHOUT_BODY = (0x01, *range(0xD0, 0xD8))

_MARKER = re.compile(rb"\xff([^\x00\xff])", re.DOTALL)
# Within a scan, FF is followed by 00 where it is data, and by D0..D7 where decoding may restart.
_AFTER_SCAN = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]", re.DOTALL)


def inspect(content: bytes, max_pixels: int) -> Announced:  # noqa: PLR0912 (one walk over the markers)
    """Walk the markers of the first image up to its end mark. `essence` has no metadata."""
    view = memoryview(content)
    parts: list[bytes | memoryview] = [b"\xff\xd8"]
    orientation, is_mpo, has_frame, complete = UPRIGHT, False, False, False
    position, scans, segments = 2, 0, 0
    while match := _MARKER.search(content, position):
        code, position = match[1][0], match.end()
        segments += 1
        if segments > MAX_SEGMENTS:
            raise corrupt(f"the image has more than {MAX_SEGMENTS} segments")
        if code == _EOI:
            parts.append(b"\xff\xd9")
            complete = True
            break
        if code in _WITHOUT_BODY:
            continue
        if code == _SOI:
            raise corrupt("a second image begins within the first")
        if position + 2 > len(content):
            break
        (length,) = struct.unpack_from(">H", content, position)
        if length < 2:
            raise corrupt("a segment has a length below its own header's")
        after = position + length
        if after > len(content):
            break
        if code in _OTHER_PROCESSES:
            raise unsupported("the image is a JPEG of a kind that is not decoded here", "save it as a baseline JPEG")
        if code in _DECODABLE:
            has_frame = True
            _need_frame(content[position + 2 : after], max_pixels)
        name = content[position + 2 : min(position + 8, after)]
        if code == _APP1 and name == b"Exif\x00\x00" and orientation == UPRIGHT:
            orientation = read_orientation(content[position + 2 : after])
        is_mpo = is_mpo or (code == _APP2 and name.startswith(b"MPF\x00"))
        if _is_needed(code, name):
            parts += (bytes((0xFF, code)), view[position:after])
        position = after
        if code == _SOS:
            scans += 1
            if scans > MAX_SCANS:
                raise corrupt(f"the image has more than {MAX_SCANS} scans")
            end = _AFTER_SCAN.search(content, position)
            parts.append(view[position : end.start() if end else len(content)])
            position = end.start() if end else len(content)
    if not scans:
        raise corrupt("the image has no scan") if complete else truncated("the file ends before its first scan")
    if not has_frame:
        raise corrupt("the image has no frame header")
    return Announced("MPO" if is_mpo else "JPEG", b"".join(parts), orientation, complete=complete)


def _need_frame(frame: bytes, max_pixels: int) -> None:
    bits, height, width, components = struct.unpack_from(">BHHB", frame)
    require_size(width, height, max_pixels)
    if bits != 8 or components not in (1, 3, 4):
        raise unsupported(
            f"the image is a JPEG of {components} components of {bits} bits, which is not decoded here",
            "save it with 8 bits, as RGB or gray",
        )


def _is_needed(code: int, name: bytes) -> bool:
    """Of the application segments, only JFIF's and Adobe's change what the colors mean."""
    if code == _APP0:
        return name.startswith(b"JFIF\x00")
    if code == _APP14:
        return name.startswith(b"Adobe")
    return not (_APP1 <= code <= _APP15 or code == _COMMENT)
