"""PNG and APNG."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image

from tests.intake.variants.parts import HEIGHT, PICTURE, WIDTH, Part, Variant, mutations
from tests.support.corpus import encoded, exif_block, png, png_chunk


def png_parts(content: bytes) -> list[Part]:
    """The signature and the chunks."""
    parts, position = [Part("signature", 0, 8)], 8
    while position < len(content):
        (length,) = struct.unpack_from(">I", content, position)
        name = content[position + 4 : position + 8].decode("latin-1")
        parts.append(Part(name, position, position + 12 + length, position, ">I"))
        position += 12 + length
    return parts


_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def png_samples(depth: int, color: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """Samples [height, width, channels] that use the whole range, the same each time."""
    channels = _CHANNELS[color]
    levels = np.random.default_rng(depth * 10 + color).integers(0, 1 << depth, (height, width, channels))
    levels[: height // 2, : width // 2] = levels[0, 0]
    return levels


def png_rows(samples: np.ndarray, depth: int) -> bytes:
    """`samples` as rows of a PNG without filters."""
    height, width, channels = samples.shape
    if depth == 16:
        rows = samples.astype(">u2").reshape(height, -1).view(np.uint8)
    elif depth == 8:
        rows = samples.astype(np.uint8).reshape(height, -1)
    else:
        bits = (samples.reshape(height, width * channels, 1) >> np.arange(depth - 1, -1, -1)) & 1
        rows = np.packbits(bits.reshape(height, -1).astype(np.uint8), axis=1)
    return b"".join(b"\x00" + row.tobytes() for row in rows)


def png_interlaced(samples: np.ndarray, depth: int) -> bytes:
    """`samples` as the seven passes of Adam7."""
    passes = (samples[y::down, x::right] for x, y, right, down in _PASSES)
    return b"".join(png_rows(part, depth) for part in passes if part.size)


def png_file(samples: np.ndarray, depth: int, color: int, *others: bytes, interlaced: bool = False) -> bytes:
    height, width, _ = samples.shape
    rows = (png_interlaced if interlaced else png_rows)(samples, depth)
    return png(width, height, depth, color, rows, *others, interlaced=interlaced)


_PALETTE = png_chunk(b"PLTE", bytes((7 * index + shift) % 256 for index in range(256) for shift in (0, 90, 180)))


def _palette(entries: int) -> bytes:
    return png_chunk(b"PLTE", _PALETTE[8 : 8 + 3 * entries])


def _transparency(samples: np.ndarray, color: int) -> bytes:
    if color == 3:
        return png_chunk(b"tRNS", bytes(range(0, 256, 17))[: int(samples.max()) + 1])
    return png_chunk(b"tRNS", struct.pack(f">{samples.shape[2]}H", *samples[0, 0]))


def _forms() -> Iterator[Variant]:
    for color, depths in _DEPTHS.items():
        for depth in depths:
            samples = png_samples(depth, color)
            needed = (_palette(1 << depth),) if color == 3 else ()
            for interlaced in (False, True):
                title = f"color {color} depth {depth}{' interlaced' if interlaced else ''}"
                yield title, png_file(samples, depth, color, *needed, interlaced=interlaced)
                if color in (0, 2, 3):
                    transparency = _transparency(samples, color)
                    content = png_file(samples, depth, color, *needed, transparency, interlaced=interlaced)
                    yield f"{title} tRNS", content
    for width, height in ((1, 1), (1, 9), (9, 1), (2, 3), (4, 4), (5, 5)):
        for depth in (1, 8, 16):
            samples = png_samples(depth, 0, width, height)
            yield f"interlaced {width}x{height} depth {depth}", png_file(samples, depth, 0, interlaced=True)
    yield from _headers()
    yield from _transparencies()
    yield from _palettes()
    yield from _pixels()
    yield from _orientations()
    yield from _apngs()


def _headers() -> Iterator[Variant]:
    samples = png_samples(8, 2)
    rows = png_rows(samples, 8)
    pixels, end = png_chunk(b"IDAT", zlib.compress(rows)), png_chunk(b"IEND", b"")
    for name, fields in {
        "no width": (0, HEIGHT, 8, 2, 0, 0, 0),
        "no height": (WIDTH, 0, 8, 2, 0, 0, 0),
        "depth 3": (WIDTH, HEIGHT, 3, 2, 0, 0, 0),
        "depth 4 of color 2": (WIDTH, HEIGHT, 4, 2, 0, 0, 0),
        "color 1": (WIDTH, HEIGHT, 8, 1, 0, 0, 0),
        "color 7": (WIDTH, HEIGHT, 8, 7, 0, 0, 0),
        "compression 1": (WIDTH, HEIGHT, 8, 2, 1, 0, 0),
        "filter method 1": (WIDTH, HEIGHT, 8, 2, 0, 1, 0),
        "filter method 64": (WIDTH, HEIGHT, 8, 2, 0, 64, 0),
        "interlace 2": (WIDTH, HEIGHT, 8, 2, 0, 0, 2),
        "width of 2^31": (1 << 31, HEIGHT, 8, 2, 0, 0, 0),
        "taller": (WIDTH, HEIGHT + 1, 8, 2, 0, 0, 0),
        "shorter": (WIDTH, HEIGHT - 1, 8, 2, 0, 0, 0),
    }.items():
        yield f"header/{name}", _SIGNATURE + png_chunk(b"IHDR", struct.pack(">IIBBBBB", *fields)) + pixels + end
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 2, 0, 0, 0))
    unknown, private = png_chunk(b"ABCD", b"what?"), png_chunk(b"abCd", b"what?")
    yield "chunk/unknown critical before IDAT", _SIGNATURE + header + unknown + pixels + end
    yield "chunk/unknown critical after IDAT", _SIGNATURE + header + pixels + unknown + end
    yield "chunk/unknown ancillary before IDAT", _SIGNATURE + header + private + pixels + end
    yield "chunk/unknown ancillary after IDAT", _SIGNATURE + header + pixels + private + end
    yield "chunk/CgBI", _SIGNATURE + png_chunk(b"CgBI", b"P\x00 \x02") + header + pixels + end
    yield "chunk/text before IHDR", _SIGNATURE + png_chunk(b"tEXt", b"a\x00b") + header + pixels + end
    for bad in (b"s\x01IT", b"\xffexT", b"te t", b"I\x00AT", b"\x00\x00\x00\x00"):
        yield f"chunk/name {bad.hex()}", _SIGNATURE + header + png_chunk(bad, b"what?") + pixels + end
        yield f"chunk/name {bad.hex()} after IDAT", _SIGNATURE + header + pixels + png_chunk(bad, b"what?") + end
    half = len(zlib.compress(rows)) // 2
    first, second = (png_chunk(b"IDAT", part) for part in (zlib.compress(rows)[:half], zlib.compress(rows)[half:]))
    for name, chunks in {
        "two": first + second,
        "empty between": first + png_chunk(b"IDAT", b"") + second,
        "empty first": png_chunk(b"IDAT", b"") + first + second,
        "text between": first + png_chunk(b"tEXt", b"a\x00b") + second,
        "second missing": first,
        "first missing": second,
        "swapped": second + first,
    }.items():
        yield f"pixels in chunks/{name}", _SIGNATURE + header + chunks + end
    text = _SIGNATURE + header
    for name in (b"tEXt", b"gAMA", b"tRNS", b"bKGD", b"pHYs", b"PLTE", b"IDAT", b"IHDR", b"IEND", b"eXIf", b"acTL"):
        body = b"a\x00b"
        wrong = struct.pack(">I", len(body)) + name + body + b"\x00\x00\x00\x00"
        yield f"chunk/wrong checksum {name.decode()}", text + wrong + pixels + end
        yield f"chunk/wrong checksum {name.decode()} after IDAT", text + pixels + wrong + end


_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def _transparencies() -> Iterator[Variant]:
    for color, depth in ((0, 8), (0, 16), (2, 8), (2, 16), (3, 8), (4, 8), (6, 8)):
        samples = png_samples(depth, color)
        needed = (_palette(256),) if color == 3 else ()
        for length in (0, 1, 2, 3, 4, 5, 6, 7, 8, 256, 257, 300):
            chunk = png_chunk(b"tRNS", bytes(length))
            yield f"tRNS/color {color} depth {depth}, {length} bytes", png_file(samples, depth, color, *needed, chunk)
        if color in (0, 2, 3):
            right = _transparency(samples, color)
            wrong = right[:-1] + bytes((right[-1] ^ 1,))
            other = png_chunk(b"tRNS", bytes(len(right) - 12))
            title = f"tRNS/color {color} depth {depth}"
            yield f"{title}, wrong checksum", png_file(samples, depth, color, *needed, wrong)
            yield f"{title}, two", png_file(samples, depth, color, *needed, right, other)
            yield f"{title}, two reversed", png_file(samples, depth, color, *needed, other, right)
            whole = png_file(samples, depth, color, *needed)
            yield f"{title}, after the pixels", whole[:-12] + right + whole[-12:]
            yield f"{title}, before PLTE", png_file(samples, depth, color, right, *needed)
    for depth in (1, 2, 4, 8):
        samples = png_samples(depth, 0)
        for value in (0, (1 << depth) - 1, 1 << depth, 0xFF00, 0xFFFF):
            chunk = png_chunk(b"tRNS", struct.pack(">H", value))
            yield f"tRNS/gray depth {depth}, {value}", png_file(samples, depth, 0, chunk)
    samples = png_samples(8, 2)
    for value in (0x0100, 0xFF00):
        chunk = png_chunk(b"tRNS", struct.pack(">3H", *(int(level) | value for level in samples[0, 0])))
        yield f"tRNS/rgb depth 8, high bytes {value}", png_file(samples, 8, 2, chunk)


def _palettes() -> Iterator[Variant]:
    for depth in (1, 2, 4, 8):
        samples = png_samples(depth, 3)
        full = 1 << depth
        for entries in sorted({0, 1, full // 2, full - 1, full, full + 1, 256, 257}):
            chunk = png_chunk(b"PLTE", (_PALETTE[8:-4] * 2)[: 3 * entries])
            yield f"palette/depth {depth}, {entries} entries", png_file(samples, depth, 3, chunk)
    samples = png_samples(8, 3)
    for length in (1, 2, 4, 767, 769):
        chunk = png_chunk(b"PLTE", (_PALETTE[8:-4] * 2)[:length])
        yield f"palette/{length} bytes", png_file(samples, 8, 3, chunk)
    yield "palette/two", png_file(samples, 8, 3, _palette(256), png_chunk(b"PLTE", bytes(768)))
    yield "palette/missing", png_file(samples, 8, 3)
    whole = png_file(samples, 8, 3, _palette(256))
    yield "palette/wrong checksum", png_file(samples, 8, 3, _palette(256)[:-1] + b"\x00")
    yield "palette/after the pixels", png_file(samples, 8, 3)[:-12] + _palette(256) + whole[-12:]
    for color in (0, 2, 4, 6):
        for entries in (2, 256, 257):
            chunk = png_chunk(b"PLTE", (_PALETTE[8:-4] * 2)[: 3 * entries])
            yield f"palette/color {color}, {entries} entries", png_file(png_samples(8, color), 8, color, chunk)
    yield "palette/color 2, 5 bytes", png_file(png_samples(8, 2), 8, 2, png_chunk(b"PLTE", bytes(5)))


def _pixels() -> Iterator[Variant]:
    for color, depth in ((2, 8), (3, 4), (0, 1)):
        samples = png_samples(depth, color)
        needed = (_palette(1 << depth),) if color == 3 else ()
        head = png_file(samples, depth, color, *needed)
        head = head[: head.index(b"IDAT") - 4]
        rows = png_rows(samples, depth)
        stride = len(rows) // HEIGHT
        squeezed = zlib.compress(rows)
        for name, body in {
            "no checksum": squeezed[:-4],
            "half of the checksum": squeezed[:-2],
            "wrong checksum": squeezed[:-1] + bytes((squeezed[-1] ^ 1,)),
            "bytes after": squeezed + b"more",
            "a row more": zlib.compress(rows + rows[:stride]),
            "a row less": zlib.compress(rows[:-stride]),
            "a byte less": zlib.compress(rows[:-1]),
            "a row less, no checksum": zlib.compress(rows[:-stride])[:-4],
            "half": squeezed[: len(squeezed) // 2],
            "stored": zlib.compress(rows, 0),
            "half stored": zlib.compress(rows, 0)[: len(rows) // 2],
            "no rows": zlib.compress(b""),
            "empty": b"",
            "not deflate": b"\x00" * 50,
            "filter 5 in the first row": zlib.compress(b"\x05" + rows[1:]),
            "filter 5 in the last row": zlib.compress(rows[:-stride] + b"\x05" + rows[1 - stride :]),
            "damaged": squeezed[: len(squeezed) // 2] + b"\x55" + squeezed[len(squeezed) // 2 + 1 :],
        }.items():
            title = f"pixels/color {color} depth {depth}, {name}"
            whole = head + png_chunk(b"IDAT", body) + png_chunk(b"IEND", b"")
            yield title, whole
            yield f"{title}, no IEND", whole[:-12]
            yield f"{title}, no IEND, no checksum", whole[:-16]
    samples = png_samples(8, 2)
    interlaced = png_interlaced(samples, 8)
    for lost in (1, WIDTH * 3 + 1, len(interlaced) // 2):
        yield f"pixels/interlaced, {lost} bytes less", png(WIDTH, HEIGHT, 8, 2, interlaced[:-lost], interlaced=True)
    for number in range(5):
        filtered = encoded(Image.fromarray(png_samples(8, 2).astype(np.uint8)), "PNG", compress_type=number)
        yield f"pixels/strategy {number}", filtered


def _orientations() -> Iterator[Variant]:
    samples = png_samples(8, 2)
    for orientation in range(1, 9):
        chunk = png_chunk(b"eXIf", exif_block(orientation)[6:])
        yield f"eXIf/{orientation}", png_file(samples, 8, 2, chunk)
    whole = png_file(samples, 8, 2)
    six, three = (png_chunk(b"eXIf", exif_block(turn)[6:]) for turn in (6, 3))
    yield "eXIf/after the pixels", whole[:-12] + six + whole[-12:]
    yield "eXIf/with a prefix", png_file(samples, 8, 2, png_chunk(b"eXIf", exif_block(6)))
    yield "eXIf/wrong checksum", png_file(samples, 8, 2, six[:-1] + b"\x00")
    yield "eXIf/two", png_file(samples, 8, 2, six, three)
    raw = exif_block(6).hex()
    text = png_chunk(b"tEXt", b"Raw profile type exif\x00\nexif\n%8d\n" % len(exif_block(6)) + raw.encode() + b"\n")
    yield "eXIf/raw profile in text", png_file(samples, 8, 2, text)


def apng_frame(number: int, x: int, y: int, samples: np.ndarray, dispose: int = 0, blend: int = 0) -> bytes:
    """A frame of an animation outside of the default image: its control and its data."""
    height, width, _ = samples.shape
    control = struct.pack(">IIIIIHHBB", number, width, height, x, y, 1, 10, dispose, blend)
    data = struct.pack(">I", number + 1) + zlib.compress(png_rows(samples, 8))
    return png_chunk(b"fcTL", control) + png_chunk(b"fdAT", data)


def _apngs() -> Iterator[Variant]:
    default, first, second = png_samples(8, 2), 255 - png_samples(8, 2), png_samples(8, 2)[::-1]
    whole = png_file(default, 8, 2)
    pixels = whole[33:-12]
    own = png_chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, WIDTH, HEIGHT, 0, 0, 1, 10, 0, 0))

    def animated(body: bytes, frames: int = 2) -> bytes:
        return whole[:33] + png_chunk(b"acTL", struct.pack(">II", frames, 0)) + body + whole[-12:]

    small = first[5:25, 10:40]
    yield "apng/default image is the first frame", animated(own + pixels + apng_frame(1, 0, 0, second))
    yield "apng/default image apart", animated(pixels + apng_frame(0, 0, 0, first) + apng_frame(2, 0, 0, second))
    yield "apng/default image apart, one frame", animated(pixels + apng_frame(0, 0, 0, first), 1)
    for x, y in ((0, 0), (7, 3), (31, 23)):
        yield f"apng/small first frame at {x},{y}", animated(pixels + apng_frame(0, x, y, small), 1)
    yield "apng/small first frame outside", animated(pixels + apng_frame(0, 50, 3, small), 1)
    for blend in (0, 1):
        for dispose in (0, 1, 2, 3):
            frame = apng_frame(0, 7, 3, small, dispose, blend)
            yield f"apng/dispose {dispose} blend {blend}", animated(pixels + frame + apng_frame(2, 0, 0, second))
    yield "apng/no frames counted", animated(pixels + apng_frame(0, 0, 0, first), 0)
    yield "apng/more frames counted than there are", animated(pixels + apng_frame(0, 0, 0, first), 9)
    yield "apng/first number is 1", animated(pixels + apng_frame(1, 0, 0, first), 1)
    yield "apng/acTL alone", animated(pixels, 1)
    yield "apng/control after the pixels alone", animated(pixels + own, 1)
    yield "apng/no acTL", whole[:33] + pixels + apng_frame(0, 0, 0, first) + whole[-12:]
    yield (
        "apng/acTL after the pixels",
        whole[:33] + pixels + png_chunk(b"acTL", struct.pack(">II", 1, 0)) + apng_frame(0, 0, 0, first) + whole[-12:],
    )
    offset = png_chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, WIDTH - 9, HEIGHT - 9, 3, 3, 1, 10, 0, 0))
    yield "apng/default image with an offset", animated(offset + pixels, 1)
    broken = bytearray(animated(pixels + apng_frame(0, 0, 0, first), 1))
    broken[broken.index(b"fdAT") + 20] ^= 0x55
    yield "apng/wrong checksum of the frame", bytes(broken)
    frame = apng_frame(0, 0, 0, first)
    yield "apng/frame data missing", animated(pixels + frame[:38], 1)
    control, data = frame[:38], zlib.compress(png_rows(first, 8))
    parts = (data[: len(data) // 2], data[len(data) // 2 :])
    split = b"".join(png_chunk(b"fdAT", struct.pack(">I", 1 + number) + part) for number, part in enumerate(parts))
    yield "apng/frame data in two chunks", animated(pixels + control + split, 1)
    yield "apng/file ends within the frame", animated(pixels + frame, 1)[:-200]
    indexed = png_file(png_samples(8, 3), 8, 3, _palette(256), png_chunk(b"tRNS", bytes(range(256))))
    at = indexed.index(b"IDAT") - 4
    frame = apng_frame(0, 7, 3, 255 - png_samples(8, 3)[5:25, 10:40])
    count = png_chunk(b"acTL", struct.pack(">II", 1, 0))
    yield "apng/palette with alpha", indexed[:33] + count + indexed[33:-12] + frame + indexed[-12:]
    yield "apng/acTL just before the pixels", indexed[:at] + count + indexed[at:-12] + frame + indexed[-12:]


def _bases() -> dict[str, bytes]:
    color = png_file(png_samples(8, 2), 8, 2, png_chunk(b"tEXt", b"Comment\x00a comment"), png_chunk(b"tIME", bytes(7)))
    indexed = png_samples(8, 3)
    return {
        "rgb": color,
        "palette": png_file(indexed, 8, 3, _palette(256), _transparency(indexed, 3)),
        "apng": encoded(PICTURE, "PNG", save_all=True, append_images=[PICTURE.rotate(180)]),
    }


def variants() -> Iterator[Variant]:
    for name, content in _bases().items():
        yield name, content
        yield from mutations(name, content, png_parts(content))
    yield from _forms()
