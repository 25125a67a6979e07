"""AVIF, and what HEIF has in common with it."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from PIL import Image

from tests.intake.variants.parts import HEIGHT, PICTURE, WIDTH, Part, Variant
from tests.support.corpus import encoded, exif_block, texture

Coder = Callable[[Image.Image], tuple[bytes, bytes]]
"""A picture to its configuration box and its coded data."""
Single = Callable[..., bytes]
"""Properties to a file of one item that has them."""


def box(name: bytes, *bodies: bytes) -> bytes:
    body = b"".join(bodies)
    return struct.pack(">I", len(body) + 8) + name + body


def full_box(name: bytes, *bodies: bytes, version: int = 0, flags: int = 0) -> bytes:
    return box(name, struct.pack(">I", version << 24 | flags), *bodies)


@dataclass(frozen=True)
class Item:
    """One item of a file that `heif_file` writes."""

    number: int
    kind: bytes
    data: bytes
    properties: tuple[bytes, ...] = ()
    references: tuple[tuple[bytes, tuple[int, ...]], ...] = ()
    """Kinds of reference and the items that they lead to."""
    in_meta: bool = False
    """Its data lies in the `idat` box."""


def heif_file(items: list[Item], primary: int = 1, brand: bytes = b"avif", tail: bytes = b"") -> bytes:
    """An AVIF or HEIF of `items`, written out in full: each one's properties, references and data."""
    properties = list(dict.fromkeys(prop for item in items for prop in item.properties))
    associations = b"".join(
        struct.pack(">HB", item.number, len(item.properties))
        + bytes(properties.index(prop) + 1 | 0x80 * (prop[4:8] in _ESSENTIAL) for prop in item.properties)
        for item in items
    )
    entries = b"".join(
        full_box(b"infe", struct.pack(">HH4s", item.number, 0, item.kind), b"\x00", version=2) for item in items
    )
    references = b"".join(
        box(kind, struct.pack(f">HH{len(targets)}H", item.number, len(targets), *targets))
        for item in items
        for kind, targets in item.references
    )
    inner = b"".join(item.data for item in items if item.in_meta)

    def meta(start: int) -> bytes:
        locations, outer_at, inner_at = b"", start, 0
        for item in items:
            offset = inner_at if item.in_meta else outer_at
            locations += struct.pack(">HHHHII", item.number, item.in_meta, 0, 1, offset, len(item.data))
            inner_at += len(item.data) * item.in_meta
            outer_at += len(item.data) * (not item.in_meta)
        return full_box(
            b"meta",
            full_box(b"hdlr", bytes(4), b"pict", bytes(13)),
            full_box(b"pitm", struct.pack(">H", primary)),
            full_box(b"iloc", struct.pack(">HH", 0x4400, len(items)), locations, version=1),
            full_box(b"iinf", struct.pack(">H", len(items)), entries),
            full_box(b"iref", references) if references else b"",
            box(b"iprp", box(b"ipco", *properties), full_box(b"ipma", struct.pack(">I", len(items)), associations)),
            box(b"idat", inner) if inner else b"",
        )

    head = box(b"ftyp", brand, bytes(4), brand, b"mif1", b"miaf")
    data = b"".join(item.data for item in items if not item.in_meta)
    start = len(head) + len(meta(0)) + 8
    return head + meta(start) + box(b"mdat", data) + tail


_ESSENTIAL = (b"av1C", b"hvcC", b"clap", b"irot", b"imir")


def ispe(width: int, height: int) -> bytes:
    return full_box(b"ispe", struct.pack(">II", width, height))


def pixi(*depths: int) -> bytes:
    return full_box(b"pixi", bytes((len(depths), *depths)))


def irot(quarter_turns: int) -> bytes:
    return box(b"irot", bytes((quarter_turns,)))


def imir(axis: int) -> bytes:
    return box(b"imir", bytes((axis,)))


def clap(*fractions: int) -> bytes:
    """Width, height, horizontal and vertical offset as numerators and denominators: eight numbers."""
    return box(b"clap", *(struct.pack(">I", number & 0xFFFFFFFF) for number in fractions))


AUXILIARY_ALPHA = full_box(b"auxC", b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha\x00")


def boxes(content: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and end of each box between two places."""
    while start + 8 <= end:
        length, name = struct.unpack_from(">I4s", content, start)
        yield name, start, start + length
        start += max(8, length)


_CONTAINERS = {b"meta": 12, b"iprp": 8, b"ipco": 8, b"iinf": 14, b"iref": 12}


def box_parts(content: bytes, start: int = 0, end: int | None = None) -> list[Part]:
    """All boxes, those within others too."""
    parts = []
    for name, at, to in boxes(content, start, len(content) if end is None else end):
        parts.append(Part(name.decode("latin-1"), at, to, at, ">I"))
        if name in _CONTAINERS:
            parts += box_parts(content, at + _CONTAINERS[name], to)
    return parts


def av1_item(content: bytes) -> tuple[bytes, bytes]:
    """The `av1C` (or `hvcC`) box and the data of the first item of a file that an encoder wrote."""
    parts = {part.name: part for part in reversed(box_parts(content))}
    config = parts.get("av1C") or parts["hvcC"]
    iloc = content[parts["iloc"].start : parts["iloc"].end]
    offset, length = struct.unpack_from(">II", iloc, len(iloc) - 8)
    if iloc[13] >> 4:  # offsets count from a base
        offset += int.from_bytes(iloc[-14:-10], "big")
    return content[config.start : config.end], content[offset : offset + length]


def avif_picture(picture: Image.Image, **options: object) -> tuple[bytes, bytes]:
    """`av1C` and AV1 data of `picture`, coded without subsampling."""
    return av1_item(encoded(picture, "AVIF", speed=10, quality=90, subsampling="4:4:4", **options))


def _box_mutations(base: str, content: bytes) -> Iterator[Variant]:
    """Boxes changed in place, so that the places of all others and of the data stay right."""
    for number, part in enumerate(box_parts(content)):
        name = f"{base}/{number:02}-{part.name}"
        body = content[part.start : part.end]
        yield f"{name}/omitted", content[: part.start + 4] + b"free" + content[part.start + 8 :]
        yield f"{name}/file ends before", content[: part.start]
        yield f"{name}/file ends within", content[: part.start + max(1, len(body) // 2)]
        yield f"{name}/file ends one byte early", content[: part.end - 1]
        yield f"{name}/filled with zeros", content[: part.start + 8] + bytes(len(body) - 8) + content[part.end :]
        for title, value in (
            ("length 0", 0),
            ("length 1", 1),
            ("length 7", 7),
            ("length 8", 8),
            ("length less 1", len(body) - 1),
            ("length plus 1", len(body) + 1),
            ("length plus 1000", len(body) + 1000),
            ("length largest", 0xFFFFFFFF),
        ):
            yield f"{name}/{title}", content[: part.start] + struct.pack(">I", value) + content[part.start + 4 :]


def item_forms(brand: bytes, kind: bytes, code: Coder) -> Iterator[Variant]:
    config, data = code(PICTURE)
    size, depth = ispe(WIDTH, HEIGHT), pixi(8, 8, 8)
    plain = (size, depth, config)

    def single(*properties: bytes, tail: bytes = b"") -> bytes:
        return heif_file([Item(1, kind, data, properties)], brand=brand, tail=tail)

    yield "plain", single(*plain)
    yield from _box_mutations("plain", single(*plain))
    yield "trailing newline", single(*plain, tail=b"\n")
    yield "trailing bytes", single(*plain, tail=b"trailing bytes")
    yield "trailing zeros", single(*plain, tail=bytes(64))
    yield "no pixi", single(size, config)
    yield "no ispe", single(depth, config)
    yield "no configuration", single(size, depth)
    yield "data in idat", heif_file([Item(1, kind, data, plain, in_meta=True)], brand=brand)
    for turns in range(4):
        yield f"irot {turns}", single(*plain, irot(turns))
        for axis in range(2):
            yield f"irot {turns} imir {axis}", single(*plain, irot(turns), imir(axis))
            yield f"imir {axis} irot {turns}", single(*plain, imir(axis), irot(turns))
    for axis in range(2):
        yield f"imir {axis}", single(*plain, imir(axis))
    yield from _claps(single, plain)
    exif = Item(2, b"Exif", bytes(4) + exif_block(6)[6:], (), ((b"cdsc", (1,)),))
    yield "EXIF", heif_file([Item(1, kind, data, plain), exif], brand=brand)
    yield "EXIF and irot", heif_file([Item(1, kind, data, (*plain, irot(1))), exif], brand=brand)
    for title, sizes in (("wider", (WIDTH + 8, HEIGHT)), ("smaller", (WIDTH - 8, HEIGHT - 8)), ("tiny", (16, 16))):
        yield f"ispe {title}", single(ispe(*sizes), depth, config)
    pasp = box(b"pasp", struct.pack(">II", 2, 1))
    yield "pasp", single(*plain, pasp)
    thumbnail_config, thumbnail = code(texture(16, 16))
    small = Item(2, kind, thumbnail, (ispe(16, 16), depth, thumbnail_config), ((b"thmb", (1,)),))
    yield "thumbnail", heif_file([Item(1, kind, data, plain), small], brand=brand)
    yield "second item is primary", heif_file([small, Item(1, kind, data, plain)], brand=brand)
    yield "primary item missing", heif_file([Item(1, kind, data, plain)], primary=7, brand=brand)
    yield from _alphas(brand, kind, data, plain, code)
    yield from _grids(brand, kind, code)


def _claps(single: Single, plain: tuple[bytes, ...]) -> Iterator[Variant]:
    w, h = WIDTH, HEIGHT
    for name, numbers in {
        "whole": (w, 1, h, 1, 0, 1, 0, 1),
        "centered": (w - 10, 1, h - 10, 1, 0, 1, 0, 1),
        "origin": (31, 1, 23, 1, -15, 1, -10, 1),
        "last corner": (31, 1, 23, 1, 15, 1, 10, 1),
        "fractional offset": (30, 1, 22, 1, -31, 2, -21, 2),
        "fractional size": (61, 2, 43, 2, 0, 1, 0, 1),
        "fractions that are whole": (60, 2, 44, 2, 1, 2, 3, 2),
        "negative denominator": (31, 1, 23, 1, 15, -1, 0, 1),
        "half a pixel off": (31, 1, 23, 1, 1, 2, 1, 2),
        "no denominator": (31, 0, 23, 1, 0, 1, 0, 1),
        "no offset denominator": (31, 1, 23, 1, 0, 0, 0, 1),
        "no size": (0, 1, 0, 1, 0, 1, 0, 1),
        "negative size": (-31, 1, 23, 1, 0, 1, 0, 1),
        "too wide": (w + 2, 1, h, 1, 0, 1, 0, 1),
        "outside left": (31, 1, 23, 1, -16, 1, 0, 1),
        "outside right": (31, 1, 23, 1, 16, 1, 0, 1),
        "outside top": (31, 1, 23, 1, 0, 1, -11, 1),
        "far outside": (31, 1, 23, 1, 2**31 - 1, 1, 0, 1),
        "huge fractions": (2**31 - 1, 2**31 - 1, 2**31 - 1, 2**31 - 1, 0, 1, 0, 1),
    }.items():
        box_ = clap(*numbers)
        yield f"clap/{name}", single(*plain, box_)
        yield f"clap/{name}, irot 1", single(*plain, box_, irot(1))
        yield f"clap/{name}, irot 3 imir 0", single(*plain, box_, irot(3), imir(0))
        yield f"clap/{name}, imir 1", single(*plain, box_, imir(1))
    right = clap(31, 1, 23, 1, -15, 1, -10, 1)
    yield "clap/after irot", single(*plain, irot(1), right)
    yield "clap/twice", single(*plain, right, clap(20, 1, 20, 1, 0, 1, 0, 1))
    yield "clap/cut", single(*plain, right[:3] + bytes((right[3] - 4,)) + right[4:-4])
    yield "clap/with pasp", single(*plain, right, box(b"pasp", struct.pack(">II", 2, 1)))


def _alphas(brand: bytes, kind: bytes, data: bytes, plain: tuple[bytes, ...], code: Coder) -> Iterator[Variant]:
    config, alpha = code(Image.linear_gradient("L").resize(PICTURE.size))
    small_config, small = code(Image.linear_gradient("L").resize((30, 20)))
    right = clap(31, 1, 23, 1, -15, 1, -10, 1)
    whole = (ispe(WIDTH, HEIGHT), pixi(8), config, AUXILIARY_ALPHA)
    to_first = ((b"auxl", (1,)),)

    def pair(color: tuple[bytes, ...], properties: tuple[bytes, ...], values: bytes = alpha, **other: object) -> bytes:
        first = Item(1, kind, data, color, **other)  # type: ignore[arg-type]
        return heif_file([first, Item(2, kind, values, properties, to_first)], brand=brand)

    yield "alpha", pair(plain, whole)
    yield "alpha without ispe", pair(plain, whole[1:])
    yield "alpha without pixi", pair(plain, (whole[0], *whole[2:]))
    yield "alpha without auxC", pair(plain, whole[:3])
    yield "alpha with clap", pair((*plain, right), (*whole, right))
    yield "alpha with another clap", pair((*plain, right), (*whole, clap(20, 1, 20, 1, 0, 1, 0, 1)))
    yield "alpha whose color alone has clap", pair((*plain, right), whole)
    yield "alpha that alone has clap", pair(plain, (*whole, right))
    yield "alpha with irot", pair((*plain, irot(1)), (*whole, irot(1)))
    yield "alpha whose color alone has irot", pair((*plain, irot(1)), whole)
    yield "alpha of another size", pair(plain, (ispe(30, 20), pixi(8), small_config, AUXILIARY_ALPHA), small)
    yield "alpha premultiplied", pair(plain, whole, references=((b"prem", (2,)),))
    yield "alpha without ispe, with clap", pair((*plain, right), (*whole[1:], right))


def _grids(brand: bytes, kind: bytes, code: Coder) -> Iterator[Variant]:
    side = 64
    picture = texture(2 * side, 2 * side)
    cells = [picture.crop((x, y, x + side, y + side)) for y in (0, side) for x in (0, side)]
    coded = [code(cell) for cell in cells]
    properties = (ispe(side, side), pixi(8, 8, 8), coded[0][0])
    tiles = [Item(number, kind, data, properties) for number, (_, data) in enumerate(coded, 2)]
    links = ((b"dimg", (2, 3, 4, 5)),)

    def grid(width: int, height: int, *more: bytes, layout: tuple[int, int] = (1, 1), in_meta: bool = True) -> bytes:
        body = struct.pack(">BBBBHH", 0, 0, *layout, width, height)
        whole = Item(1, b"grid", body, (ispe(width, height), pixi(8, 8, 8), *more), links, in_meta)
        return heif_file([whole, *tiles], brand=brand)

    right = clap(61, 1, 43, 1, -20, 1, -12, 1)
    yield "grid", grid(128, 128)
    yield "grid outside of idat", grid(128, 128, in_meta=False)
    yield "grid with a cut edge", grid(101, 99)
    yield "grid with irot", grid(101, 99, irot(1))
    yield "grid with clap", grid(128, 128, clap(62, 1, 44, 1, -21, 1, -12, 1))
    yield "grid with clap and irot", grid(128, 128, clap(62, 1, 44, 1, -21, 1, -12, 1), irot(3))
    yield "grid with a clap between pixels", grid(128, 128, right)
    yield "grid of the wrong layout", grid(128, 128, layout=(2, 1))
    yield "grid of one row", grid(128, 64, layout=(0, 1))


def variants() -> Iterator[Variant]:
    yield from item_forms(b"avif", b"av01", avif_picture)
    written = encoded(PICTURE, "AVIF", speed=10, exif=exif_block(6))
    yield "written", written
    yield from _box_mutations("written", written)
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        yield f"orientation {orientation}", encoded(PICTURE, "AVIF", speed=10, exif=exif)
    for subsampling in ("4:4:4", "4:2:2", "4:2:0", "4:0:0"):
        yield f"subsampling {subsampling}", encoded(PICTURE, "AVIF", speed=10, quality=95, subsampling=subsampling)
    for range_ in ("full", "limited"):
        yield f"range {range_}", encoded(PICTURE, "AVIF", speed=10, quality=95, subsampling="4:4:4", range=range_)
    yield "gray", encoded(PICTURE.convert("L"), "AVIF", speed=10)
    yield from _gray_ranges()
    frames = [PICTURE.rotate(180), PICTURE.rotate(90)]
    sequence = encoded(PICTURE, "AVIF", speed=10, save_all=True, append_images=frames)
    yield "sequence", sequence
    for number, part in enumerate(box_parts(sequence)):
        yield f"sequence/{number:02}-{part.name}/omitted", _renamed(sequence, part)


def _gray_ranges() -> Iterator[Variant]:
    """One plane of luma in each range, with and without the box that repeats the range beside the coded data."""
    for range_ in ("full", "limited"):
        gray = encoded(PICTURE, "AVIF", speed=10, quality=95, subsampling="4:0:0", range=range_)
        yield f"gray in {range_} range", gray
        yield f"gray in {range_} range, without colr", gray.replace(b"colrnclx", b"freenclx")


def _renamed(content: bytes, part: Part) -> bytes:
    return content[: part.start + 4] + b"free" + content[part.start + 8 :]
