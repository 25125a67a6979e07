"""GIF."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np

from tests.intake.variants.parts import HEIGHT, PICTURE, WIDTH, Part, Variant, mutations
from tests.support.corpus import encoded


def lzw(indices: bytes, bits: int, *, end: bool = True) -> bytes:
    """GIF's LZW of `indices`, without a table that grows: a clear code before it would."""
    clear, width = 1 << bits, bits + 1
    codes: list[int] = []
    for position, index in enumerate(indices):
        if position % max(1, clear - 2) == 0:
            codes.append(clear)
        codes.append(index)
    codes += [clear + 1] * end
    number = sum(code << (width * position) for position, code in enumerate(codes))
    return number.to_bytes((width * len(codes) + 7) // 8, "little")


def blocks(data: bytes, size: int = 255) -> bytes:
    """`data` in sub-blocks, with their terminator."""
    parts = (data[at : at + size] for at in range(0, len(data), size))
    return b"".join(bytes((len(part),)) + part for part in parts) + b"\x00"


GIF_PALETTE = bytes((37 * index + shift) % 256 for index in range(16) for shift in (40, 120, 200))


def gif_indices(width: int, height: int, colors: int = 16) -> bytes:
    return np.random.default_rng(width + height).integers(0, colors, width * height, dtype=np.uint8).tobytes()


def gif_frame(
    width: int,
    height: int,
    x: int = 0,
    y: int = 0,
    *,
    transparent: int | None = None,
    disposal: int = 0,
    local: bytes = b"",
    interlaced: bool = False,
    bits: int = 4,
    data: bytes | None = None,
) -> bytes:
    """A frame with its control: indices of 16 colors unless `data` (the LZW codes) is given."""
    control = b""
    if transparent is not None or disposal:
        flags = disposal << 2 | (transparent is not None)
        control = bytes((0x21, 0xF9, 4, flags, 0, 0, transparent or 0, 0))
    flags = 0x40 * interlaced | (0x80 | (len(local) // 3 - 1).bit_length() - 1 if local else 0)
    descriptor = b"," + struct.pack("<HHHHB", x, y, width, height, flags)
    codes = lzw(gif_indices(width, height), bits) if data is None else data
    return control + descriptor + local + bytes((bits,)) + blocks(codes)


def gif_file(width: int, height: int, *frames: bytes, palette: bytes = GIF_PALETTE, background: int = 0) -> bytes:
    flags = 0x80 | (len(palette) // 3 - 1).bit_length() - 1 if palette else 0
    screen = struct.pack("<HHBBB", width, height, flags, background, 0)
    return b"GIF89a" + screen + palette + b"".join(frames) + b";"


def _parts(content: bytes) -> list[Part]:
    parts = [Part("signature", 0, 6), Part("screen", 6, 13)]
    position = 13
    if content[10] & 0x80:
        size = 3 << ((content[10] & 7) + 1)
        parts.append(Part("palette", 13, 13 + size))
        position += size
    while content[position] != 0x3B:
        start = position
        if content[position] == 0x21:
            name, position = f"extension {content[position + 1]:02X}", position + 2
        else:
            size = 3 << ((content[position + 9] & 7) + 1) if content[position + 9] & 0x80 else 0
            parts.append(Part("descriptor", start, start + 10 + size))
            parts.append(Part("code size", start + 10 + size, start + 11 + size))
            name, position = "data", start + 11 + size
            start = position
        first = position
        while content[position]:
            position += 1 + content[position]
        parts.append(Part(name, start, position, first, "B"))
        parts.append(Part("terminator", position, position + 1))
        position += 1
    parts.append(Part("trailer", position, position + 1))
    return parts


def _first_frames() -> Iterator[Variant]:
    full = gif_frame(WIDTH, HEIGHT)
    for x, y in ((0, 0), (7, 0), (0, 5), (7, 5), (WIDTH - 30, HEIGHT - 20), (WIDTH - 10, HEIGHT - 10), (70, 60)):
        for background in (0, 7, 255):
            for transparent in (None, 7):
                for disposal in range(4) if background == 7 else (0,):
                    frame = gif_frame(30, 20, x, y, transparent=transparent, disposal=disposal)
                    name = f"first frame/{x},{y} background {background} transparent {transparent} disposal {disposal}"
                    yield name, gif_file(WIDTH, HEIGHT, frame, full, background=background)
    yield "first frame/larger than the screen", gif_file(20, 10, full)
    yield "first frame/screen of no size", gif_file(0, 0, full)
    yield "first frame/of no size", gif_file(WIDTH, HEIGHT, gif_frame(0, 0), full)
    yield "first frame/of no width", gif_file(WIDTH, HEIGHT, gif_frame(0, HEIGHT), full)
    for disposal in range(8):
        frame = gif_frame(WIDTH, HEIGHT, transparent=3, disposal=disposal)
        yield f"disposal {disposal}", gif_file(WIDTH, HEIGHT, frame, full)


def _palettes() -> Iterator[Variant]:
    full = gif_frame(WIDTH, HEIGHT)
    for transparent in (0, 3, 15, 16, 200):
        yield f"transparent/{transparent}", gif_file(WIDTH, HEIGHT, gif_frame(WIDTH, HEIGHT, transparent=transparent))
    local = bytes(range(48))
    yield "palette/local", gif_file(WIDTH, HEIGHT, gif_frame(WIDTH, HEIGHT, local=local))
    yield "palette/only local", gif_file(WIDTH, HEIGHT, gif_frame(WIDTH, HEIGHT, local=local), palette=b"")
    yield "palette/none", gif_file(WIDTH, HEIGHT, full, palette=b"")
    for entries in (2, 4, 8, 256):
        palette = (GIF_PALETTE * 16)[: 3 * entries]
        yield f"palette/{entries} entries", gif_file(WIDTH, HEIGHT, full, palette=palette)
        yield f"palette/local of {entries}", gif_file(WIDTH, HEIGHT, gif_frame(WIDTH, HEIGHT, local=palette))
    ramp = bytes(level for index in range(16) for level in (index, index, index))
    yield "palette/gray ramp", gif_file(WIDTH, HEIGHT, full, palette=ramp)


def _data() -> Iterator[Variant]:
    full = gif_frame(WIDTH, HEIGHT)
    yield "interlaced", gif_file(WIDTH, HEIGHT, gif_frame(WIDTH, HEIGHT, interlaced=True))
    yield "interlaced, offset", gif_file(WIDTH, HEIGHT, gif_frame(30, 20, 7, 5, interlaced=True))
    for height in (1, 2, 3, 4, 5, 7, 8, 9):
        yield f"interlaced, height {height}", gif_file(30, height, gif_frame(30, height, interlaced=True))
    for bits in range(13):
        data = lzw(gif_indices(WIDTH, HEIGHT, min(16, 1 << max(1, bits))), max(1, bits))
        yield f"code size {bits}", gif_file(WIDTH, HEIGHT, gif_frame(WIDTH, HEIGHT, bits=bits, data=data))
    codes = lzw(gif_indices(WIDTH, HEIGHT), 4)
    endless = lzw(gif_indices(WIDTH, HEIGHT), 4, end=False)
    early = lzw(gif_indices(WIDTH, HEIGHT // 2), 4)
    longer = lzw(gif_indices(WIDTH, HEIGHT + 3), 4)
    for name, data in {
        "no end code": endless,
        "no end code, pixels missing": lzw(gif_indices(WIDTH, HEIGHT // 2), 4, end=False),
        "one pixel missing": lzw(gif_indices(WIDTH, HEIGHT)[:-1], 4),
        "one pixel missing, no end code": lzw(gif_indices(WIDTH, HEIGHT)[:-1], 4, end=False),
        "end code early": early,
        "end code early, bytes follow": early + codes,
        "more pixels": longer,
        "no pixels": lzw(b"", 4),
        "nothing": b"",
        "an impossible code": codes[:200] + b"\xff\xff\xff" + codes[203:],
    }.items():
        frame = gif_frame(WIDTH, HEIGHT, data=data)
        yield f"data/{name}", gif_file(WIDTH, HEIGHT, frame)
        yield f"data/{name}, no trailer", gif_file(WIDTH, HEIGHT, frame)[:-1]
        yield f"data/{name}, no terminator", gif_file(WIDTH, HEIGHT, frame)[:-2]
        yield f"data/{name}, a frame follows", gif_file(WIDTH, HEIGHT, frame, full)
    for size in (1, 2, 7, 254):
        body = gif_frame(WIDTH, HEIGHT, data=b"")[:-1] + blocks(codes, size)
        yield f"data/blocks of {size}", gif_file(WIDTH, HEIGHT, body)


def _blocks() -> Iterator[Variant]:
    full = gif_frame(WIDTH, HEIGHT)
    for name, junk in {"zero": b"\x00", "zeros": bytes(9), "text": b"junk", "FF": b"\xff" * 3}.items():
        yield f"junk/{name} before the frame", gif_file(WIDTH, HEIGHT, junk + full)
    comment = b"\x21\xfe\x05hello\x00"
    for name, extension in {
        "comment": comment,
        "comment of no blocks": b"\x21\xfe\x00",
        "looping": b"\x21\xff\x0bNETSCAPE2.0\x03\x01\x00\x00\x00",
        "plain text": b"\x21\x01\x0c" + bytes(12) + b"\x04text\x00",
        "unknown": b"\x21\x55\x03abc\x00",
        "long control": b"\x21\xf9\x05\x01\x00\x00\x03\x00\x00\x00",
        "short control": b"\x21\xf9\x03\x01\x00\x00\x00",
        "two controls": bytes((0x21, 0xF9, 4, 1, 0, 0, 3, 0, 0x21, 0xF9, 4, 1, 0, 0, 5, 0)),
        "control, then comment": bytes((0x21, 0xF9, 4, 1, 0, 0, 3, 0)) + comment,
        "control, then plain text": bytes((0x21, 0xF9, 4, 1, 0, 0, 3, 0)) + b"\x21\x01\x0c" + bytes(12) + b"\x00",
    }.items():
        yield f"extension/{name}", gif_file(WIDTH, HEIGHT, extension + full)
    yield "GIF87a", b"GIF87a" + gif_file(WIDTH, HEIGHT, full)[6:]
    yield "GIF88a", b"GIF88a" + gif_file(WIDTH, HEIGHT, full)[6:]
    yield "trailing bytes", gif_file(WIDTH, HEIGHT, full) + b"trailing"
    yield "no frame", gif_file(WIDTH, HEIGHT)
    yield "leading junk", b"\x00" + gif_file(WIDTH, HEIGHT, full)


def variants() -> Iterator[Variant]:
    frames = [PICTURE.quantize(32), PICTURE.rotate(180).quantize(16)]
    for name, content in {
        "plain": encoded(frames[0], "GIF"),
        "animated": encoded(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=100, loop=0),
        "local": gif_file(WIDTH, HEIGHT, gif_frame(WIDTH, HEIGHT, local=bytes(range(48)), transparent=3)),
    }.items():
        yield name, content
        yield from mutations(name, content, _parts(content))
    yield from _first_frames()
    yield from _palettes()
    yield from _data()
    yield from _blocks()
