"""JPEG and MPO."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from tests.intake.variants.parts import HEIGHT, PICTURE, Part, Variant, mutations
from tests.support.corpus import encoded, exif_block

PLAIN = encoded(PICTURE, "JPEG", quality=90, subsampling=0)


def jpeg_segment(code: int, body: bytes) -> bytes:
    return bytes((0xFF, code)) + struct.pack(">H", len(body) + 2) + body


def jpeg_parts(content: bytes) -> list[Part]:
    """The marker segments of the first image, each scan with its data."""
    parts, position = [Part("SOI", 0, 2)], 2
    while position < len(content):
        code = content[position + 1]
        if code == 0xD9:
            parts.append(Part("EOI", position, position + 2))
            break
        end = position + 2 + int.from_bytes(content[position + 2 : position + 4], "big")
        if code == 0xDA:
            data = end
            while not (content[end] == 0xFF and content[end + 1] not in (0, *range(0xD0, 0xD8))):
                end += 1
            parts.append(Part("SOS", position, data, position + 2, ">H"))
            parts.append(Part("data", data, end))
        else:
            parts.append(Part(f"{code:02X}", position, end, position + 2, ">H"))
        position = end
    return parts


def _bases() -> dict[str, bytes]:
    adobe = encoded(PICTURE.convert("CMYK"), "JPEG", quality=90)
    comment = jpeg_segment(0xFE, b"a comment")
    exif = jpeg_segment(0xE1, exif_block(6))
    baseline = encoded(PICTURE, "JPEG", quality=90, subsampling=0)
    return {
        "baseline": baseline[:2] + exif + comment + baseline[2:],
        "subsampled": encoded(PICTURE, "JPEG", quality=90, subsampling=2),
        "gray": encoded(PICTURE.convert("L"), "JPEG", quality=90),
        "progressive": encoded(PICTURE, "JPEG", quality=90, subsampling=0, progressive=True),
        "progressive gray": encoded(PICTURE.convert("L"), "JPEG", progressive=True),
        "restarts": encoded(PICTURE, "JPEG", quality=90, subsampling=0, restart_marker_rows=1),
        "cmyk": adobe,
    }


def _without_adobe(content: bytes) -> bytes:
    return b"".join(content[part.start : part.end] for part in jpeg_parts(content) if part.name != "EE")


def _adobe(transform: int) -> bytes:
    return jpeg_segment(0xEE, b"Adobe" + struct.pack(">HHHB", 100, 0, 0, transform))


def _exifs() -> Iterator[Variant]:
    bases = _bases()
    plain = PLAIN
    for orientation in range(10):
        for order in ("<", ">"):
            for kind in (1, 3, 4, 9):
                block = exif_block(orientation, order, kind)
                yield f"exif/{orientation} {order} type {kind}", plain[:2] + jpeg_segment(0xE1, block) + plain[2:]
    exifs = {n: jpeg_segment(0xE1, exif_block(n)) for n in (1, 3, 6)}
    broken = jpeg_segment(0xE1, b"Exif\x00\x00II*\x00")
    xmp = jpeg_segment(
        0xE1,
        b"http://ns.adobe.com/xap/1.0/\x00<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:RDF xmlns:rdf='http://www.w3.org/"
        b"1999/02/22-rdf-syntax-ns#'><rdf:Description xmlns:tiff='http://ns.adobe.com/tiff/1.0/'><tiff:Orientation>6"
        b"</tiff:Orientation></rdf:Description></rdf:RDF></x:xmpmeta>",
    )
    app2 = jpeg_segment(0xE2, b"ICC_PROFIL is not here")
    jfif, rest = plain[2:20], plain[20:]
    for name, segments in {
        "1 then 6": exifs[1] + exifs[6],
        "6 then 1": exifs[6] + exifs[1],
        "6 then 3": exifs[6] + exifs[3],
        "broken then 6": broken + exifs[6],
        "xmp": xmp,
        "xmp then 6": xmp + exifs[6],
        "6 then xmp": exifs[6] + xmp,
        "after another segment": app2 + exifs[6],
        "one pad byte": jpeg_segment(0xE1, b"Exif\x00" + exif_block(6)[6:]),
        "lower case": jpeg_segment(0xE1, b"exif\x00\x00" + exif_block(6)[6:]),
    }.items():
        yield f"exif/{name}", b"\xff\xd8" + segments + jfif + rest
        yield f"exif/{name}, after JFIF", b"\xff\xd8" + jfif + segments + rest
    start = plain.index(b"\xff\xda")
    yield "exif/before the scan", plain[:start] + exifs[6] + plain[start:]
    progressive = bases["progressive"]
    start = progressive.rindex(b"\xff\xda")
    yield "exif/between scans", progressive[:start] + exifs[6] + progressive[start:]
    yield "exif/after the end", plain + exifs[6]


def _segments() -> Iterator[Variant]:
    plain = PLAIN
    for code in (0xE0, 0xE2, 0xED, 0xEE, 0xEF, 0xFE):
        for length in (0, 1, 2, 3):
            segment = bytes((0xFF, code)) + struct.pack(">H", length) + bytes(max(0, length - 2))
            yield f"short {code:02X}/{length}", plain[:20] + segment + plain[20:]
    for code in (0x01, 0x02, 0xBF, 0xC8, 0xCC, 0xD0, 0xD7, 0xDC, 0xDE, 0xDF, 0xF0, 0xFD):
        yield f"marker {code:02X}", plain[:20] + jpeg_segment(code, b"\x00\x00") + plain[20:]
        yield f"bare marker {code:02X}", plain[:20] + bytes((0xFF, code)) + plain[20:]
    for count in (1, 2, 1000):
        for place in (2, 20, len(plain) - 2):
            yield f"fill {count} at {place}", plain[:place] + b"\xff" * count + plain[place:]
            yield f"junk {count} at {place}", plain[:place] + b"\x00" * count + plain[place:]
    yield "leading junk", b"\x00" + plain
    yield "trailing bytes", plain + b"trailing"
    yield "trailing image", plain + encoded(PICTURE.rotate(180), "JPEG")
    yield "mpo", encoded(PICTURE, "MPO", save_all=True, append_images=[PICTURE.rotate(180)])


def _colors() -> Iterator[Variant]:
    bases = _bases()
    for subsampling in range(3):
        yield f"subsampling {subsampling}", encoded(PICTURE, "JPEG", quality=95, subsampling=subsampling)
    for name, content in (("rgb", PLAIN), ("gray", bases["gray"]), ("cmyk", _without_adobe(bases["cmyk"]))):
        jfif_free = b"".join(content[p.start : p.end] for p in jpeg_parts(content) if p.name != "E0")
        yield f"adobe/{name}, none", content
        yield f"adobe/{name}, none, no JFIF", jfif_free
        for transform in (0, 1, 2, 3):
            yield f"adobe/{name} {transform}", content[:2] + _adobe(transform) + content[2:]
            yield f"adobe/{name} {transform}, no JFIF", jfif_free[:2] + _adobe(transform) + jfif_free[2:]


def _frames() -> Iterator[Variant]:
    plain = PLAIN
    frame = plain.index(b"\xff\xc0")
    for name, at, value in (
        ("12 bits", 4, b"\x0c"),
        ("no height", 5, b"\x00\x00"),
        ("no width", 7, b"\x00\x00"),
        ("taller", 5, struct.pack(">H", HEIGHT + 40)),
        ("shorter", 5, struct.pack(">H", HEIGHT - 20)),
        ("two components", 9, b"\x02"),
    ):
        yield f"frame/{name}", plain[: frame + at] + value + plain[frame + at + len(value) :]
    for code in (0xC1, 0xC2, 0xC3, 0xC5, 0xC9, 0xCA):
        yield f"frame/process {code:02X}", plain[: frame + 1] + bytes((code,)) + plain[frame + 2 :]


def _cuts() -> Iterator[Variant]:
    bases = _bases()
    for name in ("baseline", "subsampled", "gray", "progressive", "restarts", "cmyk"):
        content = bases[name]
        for lost in (2, 3, 4, 5, 8, 16, 50, 200):
            yield f"cut/{name}, {lost} bytes", content[:-lost]
            yield f"cut/{name}, {lost} bytes, end marker kept", content[: -2 - lost] + b"\xff\xd9"
        yield f"cut/{name}, half, end marker kept", content[: len(content) // 2] + b"\xff\xd9"
        yield f"cut/{name}, half of the end marker", content[:-1]
        yield f"cut/{name}, end marker, zeros follow", content[:-2] + bytes(100)
        yield f"cut/{name}, end marker, another image follows", content[:-2] + PLAIN


def variants() -> Iterator[Variant]:
    for name, content in _bases().items():
        yield name, content
        yield from mutations(name, content, jpeg_parts(content))
    yield from _exifs()
    yield from _segments()
    yield from _colors()
    yield from _frames()
    yield from _cuts()
