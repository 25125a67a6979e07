"""Files that are small, and made to cost much: one of each known kind, the same bytes each time.

A file's size in pixels follows from `side`. With 9,999 it comes close to the default limit of 100 megapixels; tests use
less. `bench.hostile` measures what each one costs.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import count

from PIL import Image

from tests.intake.variants.avif import AUXILIARY_ALPHA, Item, av1_item, avif_picture, box, heif_file, ispe, pixi
from tests.intake.variants.gif import gif_file, gif_frame
from tests.intake.variants.jpeg import jpeg_segment
from tests.intake.variants.webp import anmf, riff, vp8x, webp_chunk, webp_parts
from tests.support.corpus import encoded, exif_block, heif, png_chunk, texture
from worker.errors import ErrorCode

FULL_SIDE = 9999


@dataclass(frozen=True)
class Hostile:
    """One file."""

    name: str
    make: Callable[[int], bytes]
    """From the side in pixels."""
    code: ErrorCode | None = None
    """What it is refused with; None where it is judged."""


def _flat(side: int, mode: str = "RGB") -> Image.Image:
    return Image.new(mode, (side, side), "white")


def _mostly_flat(side: int) -> Image.Image:
    """White, but for one noisy tile: enough contrast to be in the detector's scope."""
    picture = _flat(side)
    picture.paste(texture(224, 224), (0, 0))
    return picture


# GIF


def _lzw_of_zeros(pixels: int) -> bytes:
    """The LZW codes (8 bits per index) of so many zeros: each code stands for one pixel more than the one before."""
    value = bits = 0
    written = bytearray()

    def write(code: int, width: int) -> None:
        nonlocal value, bits
        value |= code << bits
        bits += width
        while bits >= 8:
            written.append(value & 255)
            value, bits = value >> 8, bits - 8

    width = 9
    while pixels > 0:
        write(256, width)
        for run in count(1):
            code = 0 if run == 1 else 256 + run
            width = max(9, code.bit_length())
            write(code, width)
            pixels -= run
            if pixels <= 0 or code == 4095:
                break
    write(257, width)
    return bytes(written) + bytes((value & 255,))


def _gif_with_small_frame(side: int) -> bytes:
    screen = struct.pack("<HHBBB", side, side, 0, 0, 0)
    return b"GIF89a" + screen + b",\0\0\0\0\1\0\1\0\0\2\2L\1\0;"


def _gif_of_zeros(side: int, *, interlaced: bool = False) -> bytes:
    return gif_file(side, side, gif_frame(side, side, bits=8, data=_lzw_of_zeros(side * side), interlaced=interlaced))


def _gif_with_blocks(side: int, number: int) -> bytes:
    whole = _gif_of_zeros(side)
    start = whole.index(b",")
    return whole[:start] + b"!\xfe" + b"\x01x" * number + b"\x00" + whole[start:]


# JPEG


def _split_scans(content: bytes) -> tuple[bytes, list[bytes]]:
    """A JPEG up to its first scan, and its scans with the tables before each."""
    starts = [at for at in range(len(content) - 1) if content[at : at + 2] == b"\xff\xda"]
    ends = [*starts[1:], len(content) - 2]
    return content[: starts[0]], [content[start:end] for start, end in zip(starts, ends, strict=True)]


def _jpeg_with_scans(side: int, number: int) -> bytes:
    head, scans = _split_scans(encoded(_flat(side), "JPEG", progressive=True))
    scans += [scans[-1]] * (number - len(scans))
    return head + b"".join(scans) + b"\xff\xd9"


def _jpeg_with_restarts(side: int) -> bytes:
    return encoded(_flat(side), "JPEG", restart_marker_blocks=1)


def _jpeg_after_start(segments: bytes) -> bytes:
    content = encoded(texture(300, 260), "JPEG")
    return content[:2] + segments + content[2:]


def _huge_exif() -> bytes:
    entries = struct.pack(">HHII", 0x9286, 7, 0xFFFFFFF0, 0xFFFFFFF0) * 5000
    return jpeg_segment(0xE1, b"Exif\0\0MM\0*" + struct.pack(">IH", 8, 65_535) + entries)


# PNG


_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def _compressed(rows: Iterable[bytes]) -> bytes:
    compressor = zlib.compressobj(9)
    return b"".join(map(compressor.compress, rows)) + compressor.flush()


def _png(side: int, depth: int, color: int, idat: bytes, *others: bytes, interlaced: bool = False) -> bytes:
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, depth, color, 0, 0, interlaced))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(others) + png_chunk(b"IDAT", idat) + png_chunk(b"IEND", b"")


def _png_of_zeros(
    side: int, depth: int, color: int, *others: bytes, filtering: int = 0, interlaced: bool = False, excess: int = 0
) -> bytes:
    """All samples 0. `excess` rows follow the last one."""
    bits = depth * {0: 1, 2: 3, 6: 4}[color]
    passes = _ADAM7 if interlaced else ((0, 0, 1, 1),)

    def rows() -> Iterator[bytes]:
        for left, top, right, down in passes:
            columns, lines = -(-(side - left) // right), -(-(side - top) // down)
            row = bytes((filtering,)) + bytes((columns * bits + 7) // 8)
            yield from (row for _ in range(lines + excess))

    return _png(side, depth, color, _compressed(rows()), *others, interlaced=interlaced)


def _bomb(megabytes: int) -> bytes:
    return _compressed(bytes(1 << 20) for _ in range(megabytes))


def _png_with(*others: bytes) -> bytes:
    content = encoded(texture(300, 260), "PNG")
    return content[:33] + b"".join(others) + content[33:]


def _png_with_bombs(side: int) -> bytes:
    bomb = _bomb(side * side // 100_000)
    return _png_with(png_chunk(b"zTXt", b"Comment\0\0" + bomb), png_chunk(b"iCCP", b"icc\0\0" + bomb))


def _png_line(side: int) -> bytes:
    """One row of as many pixels as the square has."""
    width = side * side
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, 1, 1, 0, 0, 0, 0))
    idat = png_chunk(b"IDAT", _compressed([bytes(1 + (width + 7) // 8)]))
    return b"\x89PNG\r\n\x1a\n" + header + idat + png_chunk(b"IEND", b"")


def _apng(side: int) -> bytes:
    control = struct.pack(">IIIIIHHBB", 0, side, side, 0, 0, 1, 1, 0, 0)
    chunks = [png_chunk(b"acTL", struct.pack(">II", 90_000, 0)), png_chunk(b"fcTL", control)]
    later = b"".join(png_chunk(b"fcTL", struct.pack(">I", number) + control[4:]) for number in range(1, 90_000))
    whole = _png_of_zeros(side, 1, 0, *chunks)
    return whole[:-12] + later + whole[-12:]


# WebP


def _webp_with_small_frame(side: int, frames: int = 1) -> bytes:
    small = encoded(texture(2, 2), "WEBP", lossless=True)
    image = b"".join(small[part.start : part.end] for part in webp_parts(small)[1:])
    head = vp8x(side, side, 0x02), webp_chunk(b"ANIM", bytes(6))
    return riff(*head, *([anmf(0, 0, 2, 2, image)] * frames))


def _webp_with_chunks(number: int) -> bytes:
    picture = encoded(texture(300, 260), "WEBP", lossless=True)
    image = b"".join(picture[part.start : part.end] for part in webp_parts(picture)[1:])
    return riff(vp8x(300, 260, 0x08), image, webp_chunk(b"junk", b"") * number, webp_chunk(b"EXIF", exif_block(6)))


# AVIF and HEIF


def _grid(side: int, kind: bytes, brand: bytes, coded: tuple[bytes, bytes]) -> bytes:
    """A grid whose cells, of 512 pixels, all have the same data."""
    cells = -(-side // 512)
    configuration, data = coded
    numbers = tuple(range(2, 2 + cells * cells))
    body = struct.pack(">BBBBHH", 0, 0, cells - 1, cells - 1, side, side)
    whole = Item(1, b"grid", body, (ispe(side, side), pixi(8, 8, 8)), ((b"dimg", numbers),), in_meta=True)
    properties = (ispe(512, 512), pixi(8, 8, 8), configuration)
    return heif_file([whole, *(Item(number, kind, data, properties) for number in numbers)], brand=brand)


def _avif_grid(side: int) -> bytes:
    return _grid(side, b"av01", b"avif", avif_picture(_flat(512)))


def _heic_grid(side: int) -> bytes:
    return _grid(side, b"hvc1", b"heic", av1_item(heif(_flat(512), quality=50)))


def _avif_with_alpha(side: int) -> bytes:
    picture = _flat(side, "RGBA")
    return encoded(picture, "AVIF", speed=10, quality=10, subsampling="4:4:4")


def _avif_larger_than_declared(_: int) -> bytes:
    configuration, data = avif_picture(_flat(2048))
    return heif_file([Item(1, b"av01", data * 30, (ispe(224, 224), pixi(8, 8, 8), configuration))])


def _avif_of_many_frames(number: int) -> bytes:
    configuration, data = avif_picture(texture(64, 64))
    return heif_file([Item(1, b"av01", data * number, (ispe(64, 64), pixi(8, 8, 8), configuration))])


def _avif_derived(depth: int, width: int) -> bytes:
    """Items derived from items: `width` references to each next one, `depth` times."""
    configuration, data = avif_picture(texture(64, 64))
    properties = (ispe(64, 64), pixi(8, 8, 8))
    derived = [
        Item(number, b"iden", b"", properties, ((b"dimg", (number + 1,) * width),)) for number in range(1, depth + 1)
    ]
    return heif_file([*derived, Item(depth + 1, b"av01", data, (*properties, configuration))])


def _avif_of_alphas(number: int) -> bytes:
    configuration, data = avif_picture(texture(64, 64))
    properties = (ispe(64, 64), pixi(8, 8, 8), configuration)
    alphas = [
        Item(other, b"av01", data, (*properties, AUXILIARY_ALPHA), ((b"auxl", (1,)),)) for other in range(2, 2 + number)
    ]
    return heif_file([Item(1, b"av01", data, properties), *alphas])


def _nested_boxes(_: int) -> bytes:
    depth = 100_000
    nested = b"".join(struct.pack(">I4s", 8 * (depth - level), b"moov") for level in range(depth))
    return box(b"ftyp", b"avis", bytes(4), b"avis") + nested


_TOO_LARGE, _CORRUPT, _UNSUPPORTED = ErrorCode.TOO_MANY_PIXELS, ErrorCode.CORRUPT, ErrorCode.UNSUPPORTED_FORMAT

HOSTILE = (
    Hostile("GIF: a frame of one pixel on a huge screen", _gif_with_small_frame),
    Hostile("GIF: a huge frame of one color", _gif_of_zeros),
    Hostile("GIF: a huge frame of one color, interlaced", partial(_gif_of_zeros, interlaced=True)),
    Hostile("GIF: 900,000 blocks of one byte", partial(_gif_with_blocks, number=900_000)),
    Hostile("GIF: 1,100,000 blocks of one byte", partial(_gif_with_blocks, number=1_100_000), _CORRUPT),
    Hostile("GIF: a screen of 65,535 × 65,535", lambda _: _gif_with_small_frame(65_535), _TOO_LARGE),
    Hostile("JPEG: one color", lambda side: encoded(_flat(side), "JPEG", optimize=True)),
    Hostile("JPEG: one color, but for one tile", lambda side: encoded(_mostly_flat(side), "JPEG", optimize=True)),
    Hostile("JPEG: one color, progressive", lambda side: encoded(_flat(side), "JPEG", progressive=True)),
    Hostile("JPEG: 100 scans", partial(_jpeg_with_scans, number=100)),
    Hostile("JPEG: 101 scans", partial(_jpeg_with_scans, number=101), _CORRUPT),
    Hostile("JPEG: a restart after each block", _jpeg_with_restarts),
    Hostile("JPEG: no end marker, CMYK, progressive",
            lambda side: encoded(_flat(side, "CMYK"), "JPEG", progressive=True)[:-2]),
    Hostile("JPEG: 9,000 comments", lambda _: _jpeg_after_start(jpeg_segment(0xFE, b"x") * 9_000)),
    Hostile("JPEG: 600 EXIF blocks of 64 kB", lambda _: _jpeg_after_start(_huge_exif() * 600)),
    Hostile("JPEG: a header of 65,500 × 65,500",
            lambda _: b"\xff\xd8\xff\xc0" + struct.pack(">HBHHB", 17, 8, 65_500, 65_500, 3) + bytes(9), _TOO_LARGE),
    Hostile("PNG: 1 bit", lambda side: _png_of_zeros(side, 1, 0)),
    Hostile("PNG: 16 bits with alpha", lambda side: _png_of_zeros(side, 16, 6)),
    Hostile("PNG: 16 bits with a transparent color",
            lambda side: _png_of_zeros(side, 16, 2, png_chunk(b"tRNS", b"\0\1" * 3))),
    Hostile("PNG: 16 bits with alpha, interlaced", lambda side: _png_of_zeros(side, 16, 6, interlaced=True)),
    Hostile("PNG: the slowest filter in each row", lambda side: _png_of_zeros(side, 8, 6, filtering=4)),
    Hostile("PNG: twenty times its rows", lambda side: _png_of_zeros(side, 1, 0, excess=19 * side)),
    Hostile("PNG: one row", _png_line),
    Hostile("PNG: comment and profile of 1 GB each", _png_with_bombs),
    Hostile("PNG: 99,000 chunks", lambda _: _png_with(png_chunk(b"tEXt", b"a\0b") * 99_000)),
    Hostile("PNG: an animation of 90,000 frames", _apng),
    Hostile("PNG: a header of 2,000,000,000 × 2,000,000,000",
            lambda _: _png(2_000_000_000, 8, 6, zlib.compress(bytes(1000))), _TOO_LARGE),
    Hostile("WebP: lossless, one color", lambda side: encoded(_flat(side), "WEBP", lossless=True, method=0)),
    Hostile("WebP: lossy with alpha, one color", lambda side: encoded(_flat(side, "RGBA"), "WEBP", method=0)),
    Hostile("WebP: a frame of two pixels on a huge canvas", _webp_with_small_frame),
    Hostile("WebP: 100,000 frames", partial(_webp_with_small_frame, frames=100_000)),
    Hostile("WebP: 99,000 chunks before EXIF", lambda _: _webp_with_chunks(99_000)),
    Hostile("WebP: a canvas of 16,777,216 × 16,777,216", lambda _: _webp_with_small_frame(1 << 24), _TOO_LARGE),
    Hostile("AVIF: one color with alpha", _avif_with_alpha),
    Hostile("AVIF: a grid of cells with the same data", _avif_grid),
    Hostile("AVIF: frames larger than declared", _avif_larger_than_declared, _TOO_LARGE),
    Hostile("AVIF: 33 hidden frames", lambda _: _avif_of_many_frames(33), _CORRUPT),
    Hostile("AVIF: 8 levels of items, 9 references each", lambda _: _avif_derived(8, 9), _CORRUPT),
    Hostile("AVIF: 900 planes of opacity", lambda _: _avif_of_alphas(900)),
    Hostile("AVIF: 100,000 boxes within boxes", _nested_boxes, _UNSUPPORTED),
    Hostile("HEIC: a grid of cells with the same data", _heic_grid),
)  # fmt: skip
