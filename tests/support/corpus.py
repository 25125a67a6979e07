"""A folder of broken, hostile and odd images, each with what must come of it."""

from __future__ import annotations

import io
import os
import socket
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
from PIL import Image

from worker.errors import ErrorCode


@dataclass(frozen=True)
class Case:
    """One source of the corpus."""

    path: Path
    code: ErrorCode | None = None
    """The error that it must end in, with the default limits; None where it must be decoded."""
    size: tuple[int, int] | None = None
    """Width and height in pixels, upright, where it must be decoded."""

    @property
    def name(self) -> str:
        return self.path.name


def build(folder: Path) -> list[Case]:
    """Write the corpus into `folder`, the same bytes each time, and tell what must come of each file."""
    folder.mkdir(parents=True, exist_ok=True)
    cases = [_write(folder / name, make(), size=size) for name, size, make in _GOOD]
    cases += [_write(folder / name, make(), code=code) for name, code, make in _BAD]
    return cases + _special_files(folder)


def texture(width: int, height: int) -> Image.Image:
    """An RGB picture with structure at every scale, so that each of its tiles has contrast."""
    noise = np.random.default_rng(width * 100_003 + height).integers(0, 64, (height, width, 3))
    y, x = np.mgrid[:height, :width]
    waves = np.stack([x * 255 // width, y * 255 // height, (x * y // 64) % 256], axis=-1)
    return Image.fromarray((waves * 3 // 4 + noise).astype(np.uint8))


def encoded(image: Image.Image, format: str, **options: Any) -> bytes:
    """The bytes of `image` in `format`, as Pillow writes it."""
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def heif(image: Image.Image, **options: Any) -> bytes:
    """The bytes of `image` as HEIC: HEVC in HEIF."""
    buffer = io.BytesIO()
    pillow_heif.from_pillow(image).save(buffer, **options)
    return buffer.getvalue()


def png_chunk(name: bytes, body: bytes) -> bytes:
    """One chunk of a PNG, with its checksum."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(
    width: int, height: int, depth: int, color: int, rows: bytes, *others: bytes, interlaced: bool = False
) -> bytes:
    """A PNG of the given header, filtered rows, and `others`: whole chunks to put before the pixels."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, interlaced))
    pixels = png_chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(others) + pixels + png_chunk(b"IEND", b"")


def exif_block(orientation: int, order: str = ">", kind: int = 3) -> bytes:
    """An EXIF block, with its prefix, whose one entry is the orientation, of the given byte order and TIFF type."""
    mark = b"II*\x00" if order == "<" else b"MM\x00*"
    value = struct.pack(f"{order}{'B' if kind == 1 else 'H' if kind == 3 else 'I'}", orientation).ljust(4, b"\x00")
    entry = struct.pack(f"{order}HHI", 0x0112, kind, 1) + value
    return b"Exif\x00\x00" + mark + struct.pack(f"{order}IH", 8, 1) + entry + bytes(4)


def rotated_jpeg(orientation: int, width: int = 320, height: int = 240) -> bytes:
    """A JPEG whose EXIF asks to be turned."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(texture(width, height), "JPEG", exif=exif)


def _jpeg() -> bytes:
    return encoded(texture(300, 260), "JPEG", quality=90)


def _png() -> bytes:
    return encoded(texture(300, 260), "PNG")


def _half(content: bytes) -> bytes:
    return content[: len(content) // 2]


def _animated_gif() -> bytes:
    frames = [texture(256, 240).quantize(32), texture(256, 240).rotate(90).quantize(16)]
    return encoded(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=100)


def _animated_webp() -> bytes:
    return encoded(texture(256, 240), "WEBP", save_all=True, append_images=[texture(256, 240).rotate(180)])


def _mpo() -> bytes:
    return encoded(texture(300, 260), "MPO", save_all=True, append_images=[texture(300, 260).rotate(180)])


def _transparent(image: Image.Image) -> Image.Image:
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    return image


def _palette_with_transparency() -> bytes:
    return encoded(texture(240, 230).quantize(16), "PNG", transparency=3)


def _gray_16() -> bytes:
    levels = np.arange(230 * 240, dtype=np.uint16).reshape(230, 240)
    return encoded(Image.fromarray(levels), "PNG")


def _header_of_60000() -> bytes:
    return png(60_000, 60_000, 8, 2, b"\x00" * 1000)


def _text_bomb() -> bytes:
    """Kilobytes that unfold to 128 megabytes, where a viewer keeps comments. The picture itself is sound."""
    squeezed = zlib.compressobj(6)
    bomb = b"".join(squeezed.compress(b"\x00" * (1 << 20)) for _ in range(128)) + squeezed.flush()
    comment = png_chunk(b"iTXt", b"Comment\x00\x01\x00\x00\x00" + bomb)
    content = _png()
    return content[:33] + comment + content[33:]


def _bad_checksum() -> bytes:
    content = bytearray(_png())
    content[content.index(b"IDAT") + 4 + 20] ^= 0x10
    return bytes(content)


def _many_scans() -> bytes:
    """A progressive JPEG that refines the same coefficients over and over."""
    content = encoded(texture(300, 260), "JPEG", progressive=True)
    last = content.rindex(b"\xff\xda")
    return content[:last] + content[last:-2] * 1000 + b"\xff\xd9"


_GIF_WITHOUT_FRAMES = b"GIF89a\x40\x00\x40\x00\x80\x00\x00" + bytes(6) + b";"
_SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="300" height="300"><rect width="300" height="300"/></svg>'

_Sized = tuple[str, tuple[int, int], Callable[[], bytes]]
_Coded = tuple[str, ErrorCode, Callable[[], bytes]]

_GOOD: list[_Sized] = [
    ("photo.jpg", (300, 260), _jpeg),
    ("progressive.jpg", (300, 260), lambda: encoded(texture(300, 260), "JPEG", progressive=True)),
    ("gray.jpg", (300, 260), lambda: encoded(texture(300, 260).convert("L"), "JPEG")),
    ("cmyk.jpg", (300, 260), lambda: encoded(texture(300, 260).convert("CMYK"), "JPEG")),
    ("phone.mpo", (300, 260), _mpo),
    *(
        (f"rotated-{turn}.jpg", (320, 240) if turn < 5 else (240, 320), lambda turn=turn: rotated_jpeg(turn))
        for turn in range(1, 9)
    ),
    ("photo.png", (300, 260), _png),
    ("png-named.jpg", (300, 260), _png),
    ("gray-16-bit.png", (240, 230), _gray_16),
    ("one-bit.png", (240, 230), lambda: encoded(texture(240, 230).convert("1"), "PNG")),
    ("gray-alpha.png", (240, 230), lambda: encoded(_transparent(texture(240, 230).convert("L")), "PNG")),
    ("alpha.png", (240, 230), lambda: encoded(_transparent(texture(240, 230)), "PNG")),
    ("palette-transparent.png", (240, 230), _palette_with_transparency),
    ("text-bomb.png", (300, 260), _text_bomb),
    ("animated.gif", (256, 240), _animated_gif),
    ("photo.webp", (300, 260), lambda: encoded(texture(300, 260), "WEBP")),
    ("lossless.webp", (300, 260), lambda: encoded(texture(300, 260), "WEBP", lossless=True)),
    ("animated.webp", (256, 240), _animated_webp),
    ("photo.avif", (300, 260), lambda: encoded(texture(300, 260), "AVIF", speed=10)),
    ("photo.heic", (300, 260), lambda: heif(texture(300, 260))),
    ("1x1.png", (1, 1), lambda: encoded(texture(1, 1), "PNG")),
    ("224x224.jpg", (224, 224), lambda: encoded(texture(224, 224), "JPEG")),
    ("223x500.jpg", (223, 500), lambda: encoded(texture(223, 500), "JPEG")),
    ("225x4000.jpg", (225, 4000), lambda: encoded(texture(225, 4000), "JPEG")),
]

_BAD: list[_Coded] = [
    ("empty.jpg", ErrorCode.TRUNCATED, lambda: b""),
    ("truncated.jpg", ErrorCode.TRUNCATED, lambda: _half(_jpeg())),
    ("truncated.png", ErrorCode.TRUNCATED, lambda: _half(_png())),
    ("truncated.webp", ErrorCode.TRUNCATED, lambda: _half(encoded(texture(300, 260), "WEBP"))),
    ("truncated.gif", ErrorCode.TRUNCATED, lambda: _half(encoded(texture(300, 260).quantize(32), "GIF"))),
    ("truncated.avif", ErrorCode.TRUNCATED, lambda: _half(encoded(texture(300, 260), "AVIF", speed=10))),
    ("truncated.heic", ErrorCode.TRUNCATED, lambda: _half(heif(texture(300, 260)))),
    ("signature-only.jpg", ErrorCode.TRUNCATED, lambda: b"\xff\xd8\xff"),
    ("text.jpg", ErrorCode.UNSUPPORTED_FORMAT, lambda: b"This is no image, whatever its name says.\n"),
    ("drawing.svg", ErrorCode.UNSUPPORTED_FORMAT, lambda: _SVG),
    ("scan.tiff", ErrorCode.UNSUPPORTED_FORMAT, lambda: encoded(texture(300, 260), "TIFF")),
    ("bmp-named.jpg", ErrorCode.UNSUPPORTED_FORMAT, lambda: encoded(texture(300, 260), "BMP")),
    ("60000x60000.png", ErrorCode.TOO_MANY_PIXELS, _header_of_60000),
    ("bad-checksum.png", ErrorCode.CORRUPT, _bad_checksum),
    ("no-frames.gif", ErrorCode.CORRUPT, lambda: _GIF_WITHOUT_FRAMES),
    ("garbage.png", ErrorCode.CORRUPT, lambda: b"\x89PNG\r\n\x1a\n" + b"\xa5" * 5000),
    ("many-scans.jpg", ErrorCode.CORRUPT, _many_scans),
]


def _write(path: Path, content: bytes, code: ErrorCode | None = None, size: tuple[int, int] | None = None) -> Case:
    path.write_bytes(content)
    return Case(path, code, size)


def _special_files(folder: Path) -> list[Case]:
    directory, pipe, link, loop = (folder / name for name in ("folder.jpg", "pipe.jpg", "link-out.jpg", "loop.jpg"))
    directory.mkdir(exist_ok=True)
    if not pipe.exists():
        os.mkfifo(pipe)
    for path, target in ((link, Path("/etc/passwd")), (loop, loop), (folder / "link-in.jpg", folder / "photo.jpg")):
        path.unlink(missing_ok=True)
        path.symlink_to(target)
    cases = [
        Case(folder / "missing.jpg", ErrorCode.NOT_FOUND),
        Case(directory, ErrorCode.NOT_A_FILE),
        Case(pipe, ErrorCode.NOT_A_FILE),
        Case(link, ErrorCode.OUTSIDE_ROOTS),
        Case(loop, ErrorCode.NOT_A_FILE),
        Case(folder / "link-in.jpg", size=(300, 260)),
        Case(folder / "sub" / ".." / ".." / "elsewhere.jpg", ErrorCode.OUTSIDE_ROOTS),
    ]
    if os.geteuid() != 0:  # root reads what nobody may read
        private = folder / "private.jpg"
        private.unlink(missing_ok=True)
        private.write_bytes(_jpeg())
        private.chmod(0)
        cases.append(Case(private, ErrorCode.UNREADABLE))
    return cases


def make_socket(path: Path) -> None:
    """Leave a Unix socket at `path`."""
    with socket.socket(socket.AF_UNIX) as endpoint:
        endpoint.bind(str(path))
