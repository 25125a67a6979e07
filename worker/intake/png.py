"""PNG. Of an animation, the first frame is the image."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from itertools import chain

from PIL import Image as Pillow
from PIL import ImageChops

from worker.intake.container import (
    UPRIGHT,
    Container,
    corrupt,
    read_orientation,
    require_size,
    truncated,
    unsupported,
)

MAX_CHUNKS = 100_000
"""Encoders fill chunks with kilobytes; millions of empty ones serve only to occupy a worker."""

_SIGNATURE = 8
_GRAY, _RGB, _INDEXED, _GRAY_ALPHA, _RGB_ALPHA = 0, 2, 3, 4, 6
_CHANNELS = {_GRAY: 1, _RGB: 3, _INDEXED: 1, _GRAY_ALPHA: 2, _RGB_ALPHA: 4}
_MODES = {
    (1, _GRAY): ("1", "1"),
    (2, _GRAY): ("L", "L;2"),
    (4, _GRAY): ("L", "L;4"),
    (8, _GRAY): ("L", "L"),
    (16, _GRAY): ("I;16", "I;16B"),
    (8, _RGB): ("RGB", "RGB"),
    (16, _RGB): ("RGB", "RGB;16B"),
    (1, _INDEXED): ("P", "P;1"),
    (2, _INDEXED): ("P", "P;2"),
    (4, _INDEXED): ("P", "P;4"),
    (8, _INDEXED): ("P", "P"),
    (8, _GRAY_ALPHA): ("LA", "LA"),
    (16, _GRAY_ALPHA): ("RGBA", "LA;16B"),
    (8, _RGB_ALPHA): ("RGBA", "RGBA"),
    (16, _RGB_ALPHA): ("RGBA", "RGBA;16B"),
}
"""(bits per sample, color type) → Pillow's mode and the layout that it is unpacked from."""
_CHECKED = (b"IHDR", b"PLTE", b"IDAT", b"tRNS", b"eXIf", b"acTL", b"fcTL", b"fdAT")
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""Of Adam7: the first column and row, and the steps to the next ones."""

_Rectangle = tuple[int, int, int, int]
"""Left, top, width, height."""


@dataclass(frozen=True)
class _Chunk:
    name: bytes
    body: memoryview
    is_cut: bool
    """The file ends within it."""
    is_intact: bool
    """Its checksum is right, or it is not read."""


@dataclass
class _Png:
    """The header, and what the chunks before the pixels add to it."""

    width: int
    height: int
    depth: int
    color: int
    interlaced: bool
    palette: bytes = b""
    transparency: bytes | None = None
    orientation: int | None = None
    animated: bool = False
    frames: int = 1
    """Of the animation, if it is one."""
    control: bytes | None = None
    """What places the first frame of the animation, if that frame is the default image."""


def read_png(content: bytes, max_pixels: int) -> Container:
    """Walk the chunks up to the end of the pixels; nothing after them counts.

    As in libpng, a faulty ancillary chunk is ignored. As in browsers, an animation's first frame is shown even where
    the image for viewers without animation is another one.
    """
    chunks = _chunks(content)
    png = _read_header(next(chunks, None), max_pixels)
    pixels: list[memoryview] = []
    complete = False
    following: _Chunk | None = None
    for chunk in chunks:
        if chunk.name != b"IDAT" and pixels:
            complete, following = True, chunk
            break
        if chunk.is_cut and chunk.name != b"IDAT":
            raise truncated("the file ends before its pixels")
        if chunk.name == b"IDAT":
            pixels.append(chunk.body)
            if not chunk.is_intact:  # viewers show what they have read up to here: the image, if it was the last chunk
                complete = not chunk.is_cut
                break
        elif chunk.is_intact:
            _add(png, chunk)
        elif _is_critical(chunk.name):
            raise corrupt(f"the checksum of a {chunk.name.decode('latin-1')} chunk is wrong")
    if not pixels:
        raise truncated("the file ends before its pixels")
    if png.color == _INDEXED and not png.palette:
        raise corrupt("the image has no palette")
    frame = (0, 0, png.width, png.height)
    if png.animated and png.control is None:
        frame, pixels, complete = _first_frame(png, chain([following] if following else [], chunks))
    elif png.animated and _rectangle(png, png.control or b"") != frame:
        raise corrupt("the first frame of the animation does not have the size of the image")
    return Container(
        format="PNG",
        canvas=(png.width, png.height),
        picture=frame,
        loading_bytes=(13 if png.transparency and (png.depth, png.color) == (16, _RGB) else 4) * frame[2] * frame[3],
        loaded_bytes=4 * frame[2] * frame[3],
        load=partial(_load, png, frame[2:], pixels),
        orientation=png.orientation or UPRIGHT,
        animated=png.frames > 1,
        complete=complete,
    )


def _chunks(content: bytes) -> Iterator[_Chunk]:
    view = memoryview(content)
    position = _SIGNATURE
    for _ in range(MAX_CHUNKS):
        if position + 8 > len(content):
            return
        length, name = struct.unpack_from(">I4s", content, position)
        body = view[position + 8 : position + 8 + length]
        position += 12 + length
        is_cut = position > len(content)
        is_intact = not is_cut and (
            name not in _CHECKED
            or zlib.crc32(body, zlib.crc32(name)) == struct.unpack_from(">I", content, position - 4)[0]
        )
        yield _Chunk(name, body, is_cut, is_intact)
    raise corrupt(f"the image has more than {MAX_CHUNKS} chunks")


def _read_header(chunk: _Chunk | None, max_pixels: int) -> _Png:
    if chunk is None:
        raise truncated("the file ends within its header")
    if chunk.name == b"CgBI":
        raise unsupported("the image is a CgBI, Apple's own variant of PNG", "convert it to an ordinary PNG")
    if chunk.name != b"IHDR" or (len(chunk.body) != 13 and not chunk.is_cut):
        raise corrupt("the file does not begin with an IHDR chunk")
    if len(chunk.body) >= 8:
        width, height = struct.unpack_from(">II", chunk.body)
        require_size(width, height, max_pixels)
    if chunk.is_cut:
        raise truncated("the file ends within its header")
    if not chunk.is_intact:
        raise corrupt("the checksum of the IHDR chunk is wrong")
    width, height, depth, color, compression, filtering, interlacing = struct.unpack(">IIBBBBB", chunk.body)
    if (depth, color) not in _MODES or compression or filtering or interlacing > 1:
        raise corrupt("the header declares a form of pixels that PNG does not have")
    return _Png(width, height, depth, color, bool(interlacing))


def _add(png: _Png, chunk: _Chunk) -> None:
    """Take over what a chunk before the pixels says. The first of its kind counts."""
    body = bytes(chunk.body)
    match chunk.name:
        case b"PLTE" if png.color == _INDEXED:
            if png.palette or not body or len(body) % 3 or len(body) > 768:
                raise corrupt("the palette is not a list of up to 256 colors")
            png.palette = body
        case b"tRNS" if png.transparency is None:
            if png.color == _INDEXED:
                is_valid = 0 < len(body) <= 256 and bool(png.palette)
            else:
                is_valid = png.color in (_GRAY, _RGB) and len(body) == 2 * _CHANNELS[png.color]
            png.transparency = body if is_valid else None
        case b"eXIf" if png.orientation is None:
            png.orientation = read_orientation(body)
        case b"acTL" if not png.animated:
            frames = int.from_bytes(body[:4], "big")
            png.animated = len(body) == 8 and 0 < frames < 1 << 31
            png.frames = frames if png.animated else 1
        case b"fcTL" if png.control is None:
            png.control = body
        case name if name != b"PLTE" and _is_critical(name):
            raise corrupt("the image has a critical chunk that PNG does not define, or one out of place")


def _is_critical(name: bytes) -> bool:
    """Whether an image makes no sense without this chunk: its first letter is in upper case."""
    return not name[0] & 0x20


def _rectangle(png: _Png, control: bytes, number: int = 0) -> _Rectangle:
    """The place of a frame on the canvas. `number` is that of its control among the animation's chunks."""
    if len(control) != 26:
        raise corrupt("a frame control is not of its length")
    sequence, width, height, left, top = struct.unpack_from(">IIIII", control)
    disposal, blending = control[24:]
    if (
        sequence != number
        or not (0 < width <= png.width - left and 0 < height <= png.height - top)
        or disposal > 2
        or blending > 1
    ):
        raise corrupt("the first frame of the animation is not within the image")
    return left, top, width, height


def _first_frame(png: _Png, chunks: Iterator[_Chunk]) -> tuple[_Rectangle, list[memoryview], bool]:
    """Place and pixels of the first frame, where it is not the default image; and whether the file continues."""
    frame: _Rectangle | None = None
    pixels: list[memoryview] = []
    complete = False
    number = 0
    for chunk in chunks:
        complete = chunk.name == b"IEND" or (chunk.name == b"fcTL" and bool(pixels))
        if complete:
            break
        if chunk.name not in (b"fcTL", b"fdAT"):
            continue
        if not (chunk.is_intact or chunk.is_cut):
            raise corrupt("the checksum of an animation's chunk is wrong")
        if chunk.name == b"fcTL" and not chunk.is_cut:  # of a frame without data, the next one takes the place
            frame = _rectangle(png, bytes(chunk.body), number)
        elif chunk.name == b"fdAT" and frame:
            if chunk.body[:4] != number.to_bytes(4, "big"):
                raise corrupt("the chunks of the animation are not in order")
            pixels.append(chunk.body[4:])
        number += 1
    if frame is None:
        raise corrupt("the animation has no frame") if complete else truncated("the file ends before its first frame")
    return frame, pixels, complete


def _load(png: _Png, size: tuple[int, int], pixels: Sequence[memoryview]) -> Pillow.Image:
    mode, layout = _MODES[png.depth, png.color]
    data = b"".join(pixels)
    try:
        image = Pillow.frombytes(mode, size, data, "zip", layout, png.interlaced)
        # Pillow's decoder takes an end of the data between two rows for the end of the image and leaves the rest at 0.
        if png.interlaced or not any(image.crop((0, size[1] - 1, *size)).tobytes()):
            _end_of_rows(png, size, data)
    except ValueError:
        # What is wrong may be the checksum of the data, which viewers do not look at.
        data = data[: _end_of_rows(png, size, data)]
        image = Pillow.frombytes(mode, size, data, "zip", layout, png.interlaced)
    if png.color == _INDEXED:
        image.putpalette(_rgba_palette(png.palette, png.transparency or b""), "RGBA")
    elif png.transparency is not None:
        key = struct.unpack(f">{len(png.transparency) // 2}H", png.transparency)
        if (png.depth, png.color) == (16, _RGB):
            low = Pillow.frombytes(mode, size, data, "zip", "RGB;16L", png.interlaced)
            image.putalpha(_opacity((image, low), key))
        else:
            image.info["transparency"] = tuple(_level(sample, png.depth) for sample in key)
    return image


def _end_of_rows(png: _Png, size: tuple[int, int], data: bytes) -> int:
    """Where the compressed rows end, without their checksum. Raises unless every row of every pass is there."""
    bits = png.depth * _CHANNELS[png.color]
    missing = 0
    for left, top, right, down in _PASSES if png.interlaced else ((0, 0, 1, 1),):
        columns, rows = -(-(size[0] - left) // right), -(-(size[1] - top) // down)
        missing += rows * (1 + (columns * bits + 7) // 8) if columns > 0 and rows > 0 else 0
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    rest = data[2:]
    while missing > 0:
        part = inflater.decompress(rest, 1 << 20)
        rest = inflater.unconsumed_tail
        missing -= len(part)
        if missing > 0 and (inflater.eof or not (part or rest)):
            raise ValueError("rows are missing")
    return len(data) - len(rest) - len(inflater.unused_data)


def _rgba_palette(colors: bytes, alphas: bytes) -> bytes:
    """256 entries of RGBA. Entries that are missing are black and opaque."""
    colors, alphas = colors.ljust(768, b"\x00"), alphas.ljust(256, b"\xff")
    return b"".join(colors[3 * index : 3 * index + 3] + alphas[index : index + 1] for index in range(256))


def _level(sample: int, depth: int) -> int:
    """A sample of the file in the range of the decoded pixels: 0 to 255, but 0 to 65535 where `depth` is 16."""
    highest = (1 << depth) - 1
    return sample if depth == 16 else (sample & highest) * 255 // highest


def _opacity(halves: tuple[Pillow.Image, Pillow.Image], key: Sequence[int]) -> Pillow.Image:
    """255, but 0 where every sample equals `key`. `halves` has the high and the low bytes of the samples."""
    equal = (
        half.getchannel(channel).point([255 * (byte == sample >> shift & 255) for byte in range(256)])
        for half, shift in zip(halves, (8, 0), strict=True)
        for channel, sample in enumerate(key)
    )
    return ImageChops.invert(reduce(ImageChops.darker, equal))
