"""JPEG, and MPO: a JPEG with further ones after it."""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from PIL import Image as Pillow

from worker.intake.container import (
    UPRIGHT,
    Container,
    Picture,
    corrupt,
    read_orientation,
    require_size,
    truncated,
    unsupported,
)
from worker.intake.quantization import quality_of, read_tables

MAX_SCANS = 100
"""Scans of one image. Cameras and encoders write up to about 20; each costs a pass over all blocks, however few bytes
it has, so without a bound a small file could occupy a worker for hours."""
MAX_SEGMENTS = 10_000

_SOI, _EOI, _SOS, _DQT = 0xD8, 0xD9, 0xDA, 0xDB
_APP0, _APP1, _APP2, _APP14, _APP15, _COMMENT = 0xE0, 0xE1, 0xE2, 0xEE, 0xEF, 0xFE
_PROGRESSIVE = 0xC2
_DECODABLE = (0xC0, 0xC1, _PROGRESSIVE)
_OTHER_PROCESSES = (0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF)
_WITHOUT_BODY = (0x01, *range(0xD0, 0xD8))
_MARKER = re.compile(rb"\xff([^\x00\xff])", re.DOTALL)
# Within a scan, FF is followed by 00 where it is data, and by D0..D7 where decoding may restart.
_AFTER_SCAN = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]", re.DOTALL)
_MODES = {1: ("L", "L"), 3: ("RGB", "RGB"), 4: ("CMYK", "CMYK;I")}

_FILLERS = tuple(
    b"".join(
        bytes((first + 167 * index) % 255 for index in range(512)) + bytes((0xFF, 0xD0 + (marker + interval) % 8))
        for interval in range(16)
    )
    for first, marker in ((0x5B, 0), (0xB6, 4), (0xED, 0))
)
"""Entropy-coded data that is put where a scan ends. They begin with different bits, and with different markers for the
intervals after which decoding may restart."""
_MISSING_LEVELS = (127, 128)
"""What libjpeg shows where data is missing: half of the range in every component."""


@dataclass
class _Frame:
    """The frame of a JPEG and what of it the scans have brought."""

    process: int
    height: int
    width: int
    luminance_table: int
    """Number of the quantization table of the first component."""
    bit_positions: dict[int, list[int]]
    """Component → for each of its 64 coefficients, the lowest bit that a scan has brought; `_ABSENT` before any."""

    def add_scan(self, header: bytes) -> None:
        count = header[0]
        start, end, position = 0, 63, 0
        if self.process == _PROGRESSIVE:
            start, end, position = header[1 + 2 * count], header[2 + 2 * count], header[3 + 2 * count] & 15
        for component in header[1 : 1 + 2 * count : 2]:
            positions = self.bit_positions.get(component, [])
            for index in range(start, min(end + 1, len(positions))):
                positions[index] = position

    @property
    def is_started(self) -> bool:
        """Whether every component has been brought, in its coarsest form at least."""
        return all(positions[0] != _ABSENT for positions in self.bit_positions.values())

    @property
    def is_finished(self) -> bool:
        """Whether every bit of every coefficient has been brought."""
        return not any(map(any, self.bit_positions.values()))


_ABSENT = 99


@dataclass(frozen=True)
class _Segment:
    code: int
    start: int
    """Where its body begins, after the two bytes of its length."""
    end: int
    data_end: int
    """Where the entropy-coded data of a scan ends; `end` in other segments."""


def read_jpeg(content: bytes, max_pixels: int) -> Container:
    """Walk the markers of the first image as libjpeg does, up to its end marker or where that is missing."""
    view = memoryview(content)
    pieces: list[bytes | memoryview] = [b"\xff\xd8"]
    scan_ends: list[int] = []
    orientation: int | None = None
    frame: _Frame | None = None
    tables: dict[int, tuple[int, ...]] = {}
    is_mpo = ended = False
    for segment in _segments(content):
        code, start, end = segment.code, segment.start, segment.end
        if code in (_EOI, _SOI):
            ended = code == _EOI  # A second image that begins within the first stands for a missing end marker.
            break
        if code in _OTHER_PROCESSES:
            raise unsupported("the image is a JPEG of a kind that is not decoded here", "save it as a baseline JPEG")
        if code == _DQT and not scan_ends:
            read_tables(content[start:end], tables)
        if code in _DECODABLE:
            frame = _read_frame(code, content[start:end], max_pixels)
        name = content[start : min(start + 6, end)]
        if code == _APP1 and name.startswith(b"Exif\x00") and orientation is None and not scan_ends:
            orientation = read_orientation(content[start + 6 : end])
        is_mpo = is_mpo or (code == _APP2 and name.startswith(b"MPF\x00"))
        if _is_needed(code, name):
            pieces += (bytes((0xFF, code)), view[start - 2 : segment.data_end])
        if code == _SOS:
            if frame is None:
                raise corrupt("a scan comes before the frame header")
            frame.add_scan(content[start:end].ljust(12, b"\x00"))
            scan_ends.append(len(pieces))
            if len(scan_ends) > MAX_SCANS:
                raise corrupt(f"the image has more than {MAX_SCANS} scans")
    if frame is None or not scan_ends:
        raise corrupt("the image has no scan") if ended else truncated("the file ends before its first scan")
    if not (frame.is_started if ended else frame.is_finished):
        raise truncated("the image lacks scans")
    mode = _MODES[len(frame.bit_positions)]
    pixels = frame.width * frame.height
    has_coefficients = frame.process == _PROGRESSIVE or len(scan_ends) > 1  # libjpeg keeps all of them until the end
    return Container(
        format="MPO" if is_mpo else "JPEG",
        canvas=(frame.width, frame.height),
        picture=(0, 0, frame.width, frame.height),
        loading_bytes=(4 + 2 * len(frame.bit_positions) * has_coefficients) * pixels,
        loaded_bytes=4 * pixels,
        is_result=mode[0] == "RGB",
        load=partial(_load, (frame.width, frame.height), mode, pieces, scan_ends, ended),
        orientation=orientation or UPRIGHT,
        jpeg_quality=quality_of(tables[frame.luminance_table]) if frame.luminance_table in tables else None,
        complete=ended,
    )


def _segments(content: bytes) -> Iterator[_Segment]:
    """The marker segments up to the end marker, or up to the one that the file's end cuts."""
    position = 2
    for _ in range(MAX_SEGMENTS):
        match = _MARKER.search(content, position)
        if not match:
            return
        code, position = match[1][0], match.end()
        if code in _WITHOUT_BODY:
            continue
        start = position + 2
        if code in (_EOI, _SOI):
            yield _Segment(code, start, start, start)
            return
        # A length below 2, which is that of its own two bytes, stands for an empty body.
        end = position + max(2, int.from_bytes(content[position:start], "big"))
        if end > len(content):
            return
        position = end
        if code == _SOS:
            following = _AFTER_SCAN.search(content, end)
            position = following.start() if following else max(end, len(content.rstrip(b"\xff")))
        yield _Segment(code, start, end, position)
    raise corrupt(f"the image has more than {MAX_SEGMENTS} segments")


def _read_frame(process: int, header: bytes, max_pixels: int) -> _Frame:
    bits, height, width, count = struct.unpack_from(">BHHB", header.ljust(6, b"\x00"))
    require_size(width, height, max_pixels)
    if bits != 8 or count not in _MODES:
        raise unsupported(
            f"the image is a JPEG of {count} components of {bits} bits, which is not decoded here",
            "save it with 8 bits, as RGB or gray",
        )
    components = header[6 : 6 + 3 * count : 3]
    table = header[8] if len(header) > 8 else 0
    return _Frame(process, height, width, table, {component: [_ABSENT] * 64 for component in components})


def _is_needed(code: int, name: bytes) -> bool:
    """Of the application segments, only JFIF's and Adobe's change what the colors mean."""
    if code == _APP0:
        return name.startswith(b"JFIF\x00")
    if code == _APP14:
        return name.startswith(b"Adobe")
    return not (_APP1 <= code <= _APP15 or code == _COMMENT)


def _load(
    size: tuple[int, int],
    mode: tuple[str, str],
    pieces: Sequence[bytes | memoryview],
    scan_ends: Sequence[int],
    ended: bool,
) -> Picture:
    """Decode, and make sure that no pixel is missing: libjpeg fills in what is, and only counts a warning.

    Data that is put where a scan ends changes nothing if the scan is whole, since libjpeg has stopped reading. The
    decodings that this takes are spared where the end marker is there and the last pixel does not have the level that
    libjpeg fills in.
    """
    picture = _decoded(size, mode, pieces)
    if not ended or all(level in _MISSING_LEVELS for level in _last_pixel(picture)):
        digest = _digest(picture)
        for filler in _FILLERS:
            filled = list(pieces)
            for end in reversed(scan_ends):
                filled.insert(end, filler)
            del picture  # so that there is never more than one picture in memory
            picture = _decoded(size, mode, filled)
            if _digest(picture) != digest:
                raise truncated("the JPEG data ends before the image does")
    return picture


def _decoded(size: tuple[int, int], mode: tuple[str, str], pieces: Sequence[bytes | memoryview]) -> Picture:
    data = b"".join((*pieces, b"\xff\xd9"))
    if mode[0] != "RGB":
        return Pillow.frombytes(mode[0], size, data, "jpeg", mode[1], "")
    # Pillow keeps RGB in four bytes per pixel. Decoding into an array of this form saves two copies of the image.
    pixels = np.empty((size[1], size[0], 4), np.uint8)
    pixels[-1, -1] = 0
    image = Pillow.frombuffer("RGBX", size, pixels, "raw", "RGBX", 0, 1)
    image.frombytes(data, "jpeg", mode[1], "")
    if image.getpixel((size[0] - 1, size[1] - 1)) != tuple(pixels[-1, -1].tolist()):
        return np.asarray(image)  # A Pillow that decodes elsewhere than into the array.
    return pixels


def _last_pixel(picture: Picture) -> tuple[float, ...]:
    if isinstance(picture, np.ndarray):
        return tuple(picture[-1, -1, :3].tolist())
    levels = picture.getpixel((picture.width - 1, picture.height - 1))
    return levels if isinstance(levels, tuple) else (levels or 0,)


def _digest(picture: Picture) -> bytes:
    digest = hashlib.blake2b()
    height, width = picture.shape[:2] if isinstance(picture, np.ndarray) else picture.size[::-1]
    rows = max(1, 1_000_000 // width)
    for top in range(0, height, rows):
        digest.update(_bytes_of_rows(picture, top, min(top + rows, height)))
    return digest.digest()


def _bytes_of_rows(picture: Picture, top: int, bottom: int) -> bytes:
    if isinstance(picture, np.ndarray):
        return picture[top:bottom, :, :3].tobytes()
    return picture.crop((0, top, picture.width, bottom)).tobytes()
