"""WebP."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from PIL import Image

from tests.intake.variants.parts import HEIGHT, PICTURE, WIDTH, Part, Variant, mutations
from tests.support.corpus import encoded, exif_block


def riff(*chunks: bytes) -> bytes:
    body = b"WEBP" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def webp_chunk(name: bytes, body: bytes) -> bytes:
    return name + struct.pack("<I", len(body)) + body + b"\x00" * (len(body) & 1)


def webp_parts(content: bytes, start: int = 12) -> list[Part]:
    parts, position = [Part("RIFF", 0, 12, 4, "<I")], start
    while position + 8 <= len(content):
        name, length = struct.unpack_from("<4sI", content, position)
        end = min(len(content), position + 8 + length + (length & 1))
        parts.append(Part(name.decode("latin-1").strip(), position, end, position + 4, "<I"))
        position = end
    return parts


def _chunks(content: bytes) -> list[bytes]:
    return [content[part.start : part.end] for part in webp_parts(content)[1:]]


def vp8x(width: int, height: int, flags: int) -> bytes:
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return webp_chunk(b"VP8X", bytes((flags, 0, 0, 0)) + size)


def anmf(x: int, y: int, width: int, height: int, chunks: bytes, flags: int = 0) -> bytes:
    place = b"".join(value.to_bytes(3, "little") for value in (x // 2, y // 2, width - 1, height - 1, 100))
    return webp_chunk(b"ANMF", place + bytes((flags,)) + chunks)


def _pictures() -> dict[str, tuple[Image.Image, bytes]]:
    alpha = PICTURE.convert("RGBA")
    alpha.putalpha(Image.linear_gradient("L").resize(PICTURE.size))
    return {
        "lossy": (PICTURE, encoded(PICTURE, "WEBP", quality=95)),
        "lossless": (PICTURE, encoded(PICTURE, "WEBP", lossless=True)),
        "lossy alpha": (alpha, encoded(alpha, "WEBP", quality=95)),
        "lossless alpha": (alpha, encoded(alpha, "WEBP", lossless=True)),
    }


def _forms() -> Iterator[Variant]:
    pictures = _pictures()
    for name, (_, content) in pictures.items():
        chunks = [chunk for chunk in _chunks(content) if chunk[:4] in (b"VP8 ", b"VP8L", b"ALPH")]
        images = b"".join(chunks)
        yield f"simple/{name}", riff(images)
        for flags in (0, 0x10, 0x02, 0x12, 0xFF):
            yield f"flags/{name} {flags:02x}", riff(vp8x(WIDTH, HEIGHT, flags), images)
        for width, height in ((WIDTH + 10, HEIGHT), (WIDTH, HEIGHT - 5), (10, 10)):
            yield f"canvas/{name} {width}x{height}", riff(vp8x(width, height, 0x10), images)
        for size, title in ((-1, "less 1"), (-2, "less 2"), (-50, "less 50"), (1, "plus 1"), (9999, "plus 9999")):
            file = riff(images)
            yield f"RIFF size/{name} {title}", file[:4] + struct.pack("<I", len(file) - 8 + size) + file[8:]
        yield f"RIFF size/{name} 0", riff(images)[:4] + bytes(4) + riff(images)[8:]
        yield f"RIFF size/{name} largest", riff(images)[:4] + b"\xff" * 4 + riff(images)[8:]
        yield f"trailing bytes/{name}", riff(images) + b"trailing"
        for orientation in (1, 3, 6, 8):
            exif = webp_chunk(b"EXIF", exif_block(orientation)[6:])
            yield f"EXIF/{name} {orientation}", riff(vp8x(WIDTH, HEIGHT, 0x18), images, exif)
            yield f"EXIF/{name} {orientation}, no flag", riff(vp8x(WIDTH, HEIGHT, 0x10), images, exif)
            yield f"EXIF/{name} {orientation}, before", riff(vp8x(WIDTH, HEIGHT, 0x18), exif, images)
            yield f"EXIF/{name} {orientation}, no VP8X", riff(images, exif)
        prefixed = webp_chunk(b"EXIF", exif_block(6))
        yield f"EXIF/{name} prefixed", riff(vp8x(WIDTH, HEIGHT, 0x18), images, prefixed)
        odd = webp_chunk(b"EXIF", exif_block(6)[6:] + b"\x00")[:-1]
        yield f"EXIF/{name} no pad byte", riff(vp8x(WIDTH, HEIGHT, 0x18), images, odd)
        unknown = webp_chunk(b"what", b"abc")
        yield f"unknown/{name} before", riff(vp8x(WIDTH, HEIGHT, 0x10), unknown, images)
        yield f"unknown/{name} first", riff(unknown, images)
        yield f"unknown/{name} after", riff(images, unknown)
        yield f"twice/{name}", riff(vp8x(WIDTH, HEIGHT, 0x10), images, images)
        for lost in (1, 2, 5, 20, 100):
            yield f"cut/{name} {lost}", riff(images)[:-lost]
        yield from _animations(name, images)


def _animations(name: str, images: bytes) -> Iterator[Variant]:
    for background in (b"\x00\x00\x00\x00", b"\x20\x40\x80\xff"):
        control = webp_chunk(b"ANIM", background + b"\x00\x00")
        for flags in (0x02, 0x12):
            for x, y in ((0, 0), (6, 0), (0, 4), (6, 4), (20, 10)):
                for frame_flags in range(4):
                    frame = anmf(x, y, WIDTH, HEIGHT, images, frame_flags)
                    title = f"animated/{name} {background.hex()} {flags:02x} at {x},{y} flags {frame_flags}"
                    yield title, riff(vp8x(WIDTH + 20, HEIGHT + 10, flags), control, frame, frame)
    control = webp_chunk(b"ANIM", bytes(6))
    frame = anmf(6, 4, WIDTH, HEIGHT, images)
    wide = vp8x(WIDTH + 20, HEIGHT + 10, 0x12)
    yield f"animation/{name} no ANIM", riff(wide, frame)
    yield f"animation/{name} no flag", riff(vp8x(WIDTH + 20, HEIGHT + 10, 0x10), control, frame)
    yield f"animation/{name} outside", riff(wide, control, anmf(40, 4, WIDTH, HEIGHT, images))
    yield f"animation/{name} size wrong", riff(wide, control, anmf(6, 4, WIDTH - 3, HEIGHT, images))
    yield f"animation/{name} second frame cut", riff(wide, control, frame, frame)[:-60]
    yield f"animation/{name} first frame cut", riff(wide, control, frame)[:-60]
    yield f"animation/{name} no frame", riff(wide, control)
    yield f"animation/{name} still image too", riff(wide, control, images, frame)


def variants() -> Iterator[Variant]:
    exif = b"Exif\x00\x00" + exif_block(6)[6:]
    bases = {name: content for name, (_, content) in _pictures().items()}
    bases["with EXIF"] = encoded(PICTURE, "WEBP", quality=95, exif=exif)
    bases["animated"] = encoded(PICTURE, "WEBP", quality=95, save_all=True, append_images=[PICTURE.rotate(180)])
    for name, content in bases.items():
        yield name, content
        yield from mutations(name, content, webp_parts(content))
    yield from _forms()
