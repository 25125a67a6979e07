"""AVIF and HEIF: images in the boxes of ISO base media files, as items or, for sequences, as tracks.

Pillow's AVIF decoder and libheif parse the boxes too. What is read here is what they do not tell before they decode, or
do not apply: where the coded data lies and whether all of it is there, how large the coded frames really are, and, for
AVIF, how the frame is cropped and turned.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from io import BytesIO

from PIL import AvifImagePlugin
from PIL import Image as Pillow

from worker.intake.bitstream import Size, av1_frame_sizes, hevc_frame_sizes
from worker.intake.container import (
    UPRIGHT,
    Container,
    corrupt,
    require_size,
    too_many_pixels,
    truncated,
    unsupported,
)

MAX_BOXES = 10_000
"""Boxes, items, references and pieces of data in one file. The largest grids of phones have some hundred."""

AVIF_BYTES, HEIF_BYTES = 16, 16
"""What decoding allocates per coded pixel: the planes of color and opacity, and the copies in RGBA of them."""

_CODED = {b"av01": (b"av1C", av1_frame_sizes), b"hvc1": (b"hvcC", hevc_frame_sizes)}
"""Kind of an item → the property that configures its decoder, and what reads the sizes of its frames."""
_BRANDS = frozenset((b"avif", b"avis", b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"))
_DERIVED = (b"grid", b"iden", b"iovl")
_METADATA = (b"Exif", b"mime")
_ALPHA = (b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha", b"urn:mpeg:hevc:2015:auxid:1")
_ORIENTATIONS = {
    (0, None): UPRIGHT,
    (1, None): 8,
    (2, None): 3,
    (3, None): 6,
    (0, 0): 4,
    (1, 0): 5,
    (2, 0): 2,
    (3, 0): 7,
    (0, 1): 2,
    (1, 1): 7,
    (2, 1): 4,
    (3, 1): 5,
}
"""(quarter turns counterclockwise, axis that is mirrored afterwards) → EXIF orientation."""

_Range = tuple[int, int]
"""Start and end of a part of the file."""


@dataclass
class _Item:
    """A picture, a part of one, or metadata."""

    kind: bytes = b""
    kind_at: int = 0
    """Where the file has its kind."""
    data: list[_Range] = field(default_factory=list)
    properties: dict[bytes, _Range] = field(default_factory=dict)
    """Name → body, of the first one of each name."""
    inputs: list[int] = field(default_factory=list)
    """The items that it is derived from."""
    auxiliary_of: list[int] = field(default_factory=list)
    listed_at: tuple[int, int, int] = (0, 0, 0)
    """Where its properties are listed: the place of their number, the end of the list, bytes of an entry."""


class _Boxes:
    """The bytes of a file as boxes. Counts what is read, so that hostile files cannot occupy a worker."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self._left = MAX_BOXES

    def spend(self, count: int = 1) -> None:
        self._left -= count
        if self._left < 0:
            raise corrupt(f"the file has more than {MAX_BOXES} boxes or items")

    def top_level(self) -> Iterator[tuple[bytes, int, int]]:
        """Name, start and end of the body of each box of the file. Bytes that are not a box end it; the last box may
        exceed the file."""
        position = 0
        while position + 8 <= len(self.content):
            self.spend()
            name, body, end = self._box(position, len(self.content))
            if end < body:
                return
            yield name, body, end
            position = end

    def within(self, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
        """Name, start and end of the body of each box within another."""
        while start + 8 <= end:
            self.spend()
            name, body, after = self._box(start, end)
            if not body <= after <= end:
                raise corrupt("the length of a box is wrong")
            yield name, body, after
            start = after

    def find(self, outer: _Range, *path: bytes) -> _Range | None:
        """The body of a box within others, each the first of its name."""
        for name in path:
            inner = next(((body, end) for kind, body, end in self.within(*outer) if kind == name), None)
            if inner is None:
                return None
            outer = inner
        return outer

    def number(self, at: int, size: int) -> int:
        if at + size > len(self.content):
            raise IndexError
        return int.from_bytes(self.content[at : at + size], "big")

    def joined(self, parts: list[_Range]) -> memoryview:
        """The parts one after the other; `truncated` if the file ends within one."""
        if any(end > len(self.content) for _, end in parts):
            raise truncated("the file ends before the image does")
        view = memoryview(self.content)
        if len(parts) == 1:
            return view[slice(*parts[0])]
        self.spend(sum(end - start for start, end in parts) // 100_000)  # so that parts cannot overlap without end
        return memoryview(b"".join(view[start:end] for start, end in parts))

    def _box(self, start: int, end: int) -> tuple[bytes, int, int]:
        length, name = struct.unpack_from(">I4s", self.content, start)
        if length == 1:
            return name, start + 16, start + self.number(start + 8, 8)
        return name, start + 8, start + length if length else end


def read_heif(content: bytes, max_pixels: int) -> Container:
    """Find the image, make sure that all of its data is there, and how large its coded frames are."""
    boxes = _Boxes(content)
    brands: list[bytes] = []
    places: dict[bytes, _Range] = {}
    end = 0
    for name, body, end in boxes.top_level():
        if name in (b"ftyp", b"meta", b"moov") and name not in places:
            if end > len(content):
                raise truncated("the file ends before it describes an image")
            places[name] = (body, end)
        if name == b"ftyp" and not brands:
            brands = [content[body : body + 4], *(content[at : at + 4] for at in range(body + 8, end - 3, 4))]
            if not _BRANDS.intersection(brands):
                raise unsupported("the file is a video or an image of another kind", "convert it to JPEG")
    is_sequence = b"moov" in places and b"avis" in brands and brands[0] != b"avif"
    if not is_sequence and b"meta" not in places:
        raise truncated("the file ends before it describes an image")
    picture = (
        _read_tracks(boxes, places[b"moov"], max_pixels)
        if is_sequence
        else _read_items(boxes, places[b"meta"], max_pixels)
    )
    cropped = _cropped(boxes, picture)
    require_size(cropped[2], cropped[3], max_pixels)
    if picture.kind == b"hvc1":
        return _heif(content, picture, max_pixels)
    return Container(
        format="AVIF",
        canvas=(cropped[2], cropped[3]),
        picture=(-cropped[0], -cropped[1], *picture.size),
        loading_bytes=AVIF_BYTES * picture.coded_pixels,
        loaded_bytes=AVIF_BYTES * picture.coded_pixels,
        load=partial(_load_avif, picture.file),
        orientation=_orientation(boxes, picture.properties),
        animated=picture.animated,
        complete=end <= len(content),
    )


@dataclass(frozen=True)
class _Picture:
    """The image to be shown, and what its decoder is given."""

    kind: bytes
    """`av01` or `hvc1`."""
    size: Size
    """Before it is cropped and turned."""
    properties: dict[bytes, _Range]
    coded_pixels: int
    file: bytes
    """The file without metadata."""
    animated: bool = False
    """Whether the track has more pictures than the first."""


def _read_items(boxes: _Boxes, meta: _Range, max_pixels: int) -> _Picture:
    """The primary item."""
    content = boxes.content
    tables: dict[bytes, _Range] = {}
    for name, body, end in boxes.within(meta[0] + 4, meta[1]):
        tables.setdefault(name, (body, end))
    if not {b"pitm", b"iinf", b"iloc", b"iprp"} <= tables.keys():
        raise corrupt("the file does not describe an image")
    start, _ = tables[b"pitm"]
    primary = boxes.number(start + 4, 4 if content[start] else 2)
    items = _item_kinds(boxes, tables[b"iinf"])
    _add_places(boxes, items, tables[b"iloc"], tables.get(b"idat", (0, 0))[0])
    _add_properties(boxes, items, tables[b"iprp"])
    if b"iref" in tables:
        _add_references(boxes, items, tables[b"iref"])
    color = list(_coded_items(boxes, items, primary))
    sources = {primary, *color}
    alpha = [number for number, item in items.items() if sources & {*item.auxiliary_of} and _is_alpha(boxes, item)]
    planes = [items[number] for auxiliary in alpha for number in _coded_items(boxes, items, auxiliary)]
    parts = [items[number] for number in color]
    kinds = {item.kind for item in (*parts, *planes)}
    if len(kinds) != 1 or not kinds <= _CODED.keys():
        coding = " and ".join(sorted(ascii(kind)[2:-1] for kind in kinds))
        raise unsupported(f"the image is coded as {coding}, which is not decoded here", "convert it to JPEG")
    whole = items[primary]
    if b"ispe" not in whole.properties:
        raise corrupt("the image has no size")
    start, _ = whole.properties[b"ispe"]
    size = boxes.number(start + 4, 4), boxes.number(start + 8, 4)
    if b"av01" in kinds:  # in HEIF, the size includes what fills the coding blocks and is cropped
        require_size(*size, max_pixels)
    limit = max_pixels * 5 // 4 if whole.kind in _DERIVED else max_pixels  # a grid's cells may exceed its edges
    coded = max(_coded_pixels(boxes, group, limit, max_pixels) for group in (parts, planes))
    file = _rewritten(boxes, meta, items, whole, [items[number] for number in alpha])
    return _Picture(kinds.pop(), size, whole.properties, coded, file)


def _item_kinds(boxes: _Boxes, iinf: _Range) -> dict[int, _Item]:
    items: dict[int, _Item] = {}
    for name, start, _ in boxes.within(iinf[0] + (8 if boxes.content[iinf[0]] else 6), iinf[1]):
        version = boxes.content[start]
        if name == b"infe" and version in (2, 3):
            width = 4 if version == 3 else 2
            kind_at = start + 4 + width + 2
            items[boxes.number(start + 4, width)] = _Item(boxes.content[kind_at : kind_at + 4], kind_at)
    return items


def _add_places(boxes: _Boxes, items: dict[int, _Item], iloc: _Range, idat: int) -> None:
    """Where each item's data lies."""
    position, _ = iloc
    version = boxes.content[position]
    sizes = boxes.number(position + 4, 2)
    offset_size, length_size, base_size, index_size = (sizes >> shift & 15 for shift in (12, 8, 4, 0))
    wide = 4 if version == 2 else 2
    count = boxes.number(position + 6, wide)
    position += 6 + wide
    for _ in range(count):
        boxes.spend()
        item = items.get(boxes.number(position, wide), _Item())
        position += wide
        method = boxes.number(position, 2) & 15 if version else 0
        position += 4 if version else 2
        base = boxes.number(position, base_size)
        extents = boxes.number(position + base_size, 2)
        position += base_size + 2
        boxes.spend(extents)
        for _ in range(extents):
            position += index_size if version else 0
            start = base + boxes.number(position, offset_size) + (idat if method == 1 else 0)
            length = boxes.number(position + offset_size, length_size)
            position += offset_size + length_size
            item.data.append((start, start + length if length else len(boxes.content)))
        if method > 1:
            item.data.clear()  # data within other items' data: no picture is stored so


def _add_properties(boxes: _Boxes, items: dict[int, _Item], iprp: _Range) -> None:
    properties: list[tuple[bytes, _Range]] = []
    container = boxes.find(iprp, b"ipco")
    if container:
        properties = [(name, (start, end)) for name, start, end in boxes.within(*container)]
    for name, start, _ in boxes.within(*iprp):
        if name != b"ipma":
            continue
        wide, entry = 4 if boxes.content[start] else 2, 1 + (boxes.content[start + 3] & 1)
        position = start + 8
        for _ in range(boxes.number(start + 4, 4)):
            boxes.spend()
            item = items.get(boxes.number(position, wide), _Item())
            count_at = position + wide
            position = count_at + 1
            for _ in range(boxes.number(count_at, 1)):
                index = boxes.number(position, entry) & (0x7FFF if entry == 2 else 0x7F)
                position += entry
                if 0 < index <= len(properties):
                    item.properties.setdefault(*properties[index - 1])
            item.listed_at = (count_at, position, entry)


def _add_references(boxes: _Boxes, items: dict[int, _Item], iref: _Range) -> None:
    wide = 4 if boxes.content[iref[0]] else 2
    for name, start, _ in boxes.within(iref[0] + 4, iref[1]):
        item = items.get(boxes.number(start, wide), _Item())
        count = boxes.number(start + wide, 2)
        boxes.spend(count)
        targets = [boxes.number(start + wide + 2 + wide * index, wide) for index in range(count)]
        if name == b"dimg":
            item.inputs = targets
        elif name == b"auxl":
            item.auxiliary_of = targets


def _coded_items(boxes: _Boxes, items: dict[int, _Item], number: int, depth: int = 0) -> Iterator[int]:
    """The items that an item consists of, itself if it is coded."""
    boxes.spend()
    item = items.get(number)
    if item is None or depth > 8:
        raise corrupt("the file does not contain the items that its image consists of")
    boxes.joined(item.data)
    if item.kind not in _DERIVED:
        yield number
    for inner in item.inputs if item.kind in _DERIVED else ():
        yield from _coded_items(boxes, items, inner, depth + 1)


def _is_alpha(boxes: _Boxes, item: _Item) -> bool:
    start, end = item.properties.get(b"auxC", (0, 0))
    return boxes.content[start + 4 : end].partition(b"\x00")[0] in _ALPHA


def _coded_pixels(boxes: _Boxes, parts: list[_Item], limit: int, max_pixels: int) -> int:
    """Pixels of all frames of all parts."""
    total = 0
    for item in parts:
        configuration, read_sizes = _CODED[item.kind]
        if configuration not in item.properties or not item.data:
            raise corrupt("an image in the file has no data or no configuration")
        setup = boxes.content[slice(*item.properties[configuration])]
        for width, height in read_sizes(boxes.joined(item.data), setup):
            total += width * height
            if total > limit:
                raise too_many_pixels(
                    f"the coded image has {total} pixels or more, whatever its container declares", max_pixels
                )
    return total


def _rewritten(boxes: _Boxes, meta: _Range, items: dict[int, _Item], color: _Item, alphas: list[_Item]) -> bytes:
    """The file, in which metadata has a kind that nobody reads, and each opacity has a size.

    Pillow reads EXIF only to look for an orientation, which does not count in AVIF. libavif, as Pillow sets it up,
    refuses an opacity without a size. It is given that of the color, in a copy of the `meta` box at the end of the
    file, so that the places of the data stay right.
    """
    content = boxes.content
    unnamed = [item for item in alphas if b"ispe" not in item.properties and b"ispe" in color.properties]
    metadata = [item.kind_at for item in items.values() if item.kind in _METADATA]
    if not (unnamed or metadata):
        return content
    changed = bytearray(content)
    for at in metadata:
        changed[at : at + 4] = b"skip"
    if unnamed:
        changed = _with_sizes(changed, boxes, meta, color, unnamed)
    return bytes(changed)


def _with_sizes(file: bytearray, boxes: _Boxes, meta: _Range, color: _Item, alphas: list[_Item]) -> bytearray:
    properties = boxes.find((meta[0] + 4, meta[1]), b"iprp") or (0, 0)
    container = boxes.find(properties, b"ipco") or (0, 0)
    lists = [(start, end) for name, start, end in boxes.within(*properties) if name == b"ipma"]
    sizes = [start for _, start, _ in boxes.within(*container)]
    index = sizes.index(color.properties[b"ispe"][0]) + 1
    copy, offset = file[meta[0] - 8 : meta[1]], meta[0] - 8
    for item in sorted(alphas, key=lambda item: item.listed_at, reverse=True):
        count_at, list_end, entry = item.listed_at
        outer = [meta[0], properties[0], *(start for start, end in lists if start <= count_at < end)]
        if (
            any(bytes(file[start - 4 : start]) not in (b"meta", b"iprp", b"ipma") for start in outer)
            or file[count_at] == 255
        ):
            continue  # boxes with 64 bits of length, or no place left
        copy[list_end - offset : list_end - offset] = index.to_bytes(entry, "big")
        copy[count_at - offset] += 1
        for start in outer:
            at = start - 8 - offset
            copy[at : at + 4] = (int.from_bytes(copy[at : at + 4], "big") + entry).to_bytes(4, "big")
    file[meta[0] - 4 : meta[0]] = b"free"
    end = 0
    for _, body, after in boxes.top_level():
        if after > len(file):
            break
        if file[body - 8 : body - 4] == bytes(4):  # a box that extends to the end of the file
            file[body - 8 : body - 4] = (after - body + 8).to_bytes(4, "big")
        end = after
    return file[:end] + copy


def _read_tracks(boxes: _Boxes, moov: _Range, max_pixels: int) -> _Picture:
    """The first picture of the first AV1 track that is not another one's opacity."""
    size: Size | None = None
    properties: dict[bytes, _Range] = {}
    coded, animated = 0, False
    for name, start, end in boxes.within(*moov):
        if name != b"trak":
            continue
        track = (start, end)
        header, table = boxes.find(track, b"tkhd"), boxes.find(track, b"mdia", b"minf", b"stbl")
        descriptions = boxes.find(table, b"stsd") if table else None
        if not (header and table and descriptions):
            continue
        kind, entry, entry_end = next(boxes.within(descriptions[0] + 8, descriptions[1]), (b"", 0, 0))
        if kind != b"av01":
            continue
        described = {name: (body, after) for name, body, after in boxes.within(entry + 78, entry_end)}
        coded = max(
            coded,
            _coded_pixels(
                boxes, [_Item(kind, data=_first_sample(boxes, table), properties=described)], max_pixels, max_pixels
            ),
        )
        if size is None and not boxes.find(track, b"tref", b"auxl"):
            size = boxes.number(header[1] - 8, 2), boxes.number(header[1] - 4, 2)
            properties = described
            animated = _samples(boxes, table) > 1
    if size is None:
        raise unsupported("the file has no picture that is coded as AV1", "convert it to JPEG")
    require_size(*size, max_pixels)
    file = bytearray(boxes.content)
    file[slice(*moov)] = file[slice(*moov)].replace(b"Exif", b"skip")
    return _Picture(b"av01", size, properties, coded, bytes(file), animated)


def _samples(boxes: _Boxes, table: _Range) -> int:
    """How many pictures a track has."""
    lengths = boxes.find(table, b"stsz")
    return boxes.number(lengths[0] + 8, 4) if lengths else 0


def _first_sample(boxes: _Boxes, table: _Range) -> list[_Range]:
    """Where a track's first picture lies."""
    lengths = boxes.find(table, b"stsz")
    offsets, width = boxes.find(table, b"stco"), 4
    if not offsets:
        offsets, width = boxes.find(table, b"co64"), 8
    if not (lengths and offsets):
        raise corrupt("a track does not say where its pictures lie")
    length = boxes.number(lengths[0] + 4, 4) or boxes.number(lengths[0] + 12, 4)
    start = boxes.number(offsets[0] + 8, width)
    return [(start, start + length)]


def _cropped(boxes: _Boxes, picture: _Picture) -> tuple[int, int, int, int]:
    """Left, top, width and height of what is shown of a picture: its clean aperture, or the whole of it."""
    if b"clap" not in picture.properties:
        return 0, 0, *picture.size
    numbers = struct.unpack(">8i", boxes.content[slice(*picture.properties[b"clap"])][:32].ljust(32, b"\x00"))
    if any(denominator <= 0 for denominator in numbers[1::2]):
        raise corrupt("the crop of the image is malformed")
    width, height, across, down = (Fraction(*pair) for pair in zip(numbers[::2], numbers[1::2], strict=True))
    # The offsets are those of the crop's center from the picture's.
    left, top = across + (picture.size[0] - width) / 2, down + (picture.size[1] - height) / 2
    edges = (left, top, width, height)
    if any(edge.denominator != 1 for edge in edges) or min(left, top) < 0 or min(width, height) < 1:
        raise corrupt("the crop of the image is not made of whole pixels within it")
    if left + width > picture.size[0] or top + height > picture.size[1]:
        raise corrupt("the crop of the image exceeds it")
    return int(left), int(top), int(width), int(height)


def _orientation(boxes: _Boxes, properties: dict[bytes, _Range]) -> int:
    turns, axis = (boxes.number(properties[name][0], 1) if name in properties else None for name in (b"irot", b"imir"))
    return _ORIENTATIONS[(turns or 0) & 3, None if axis is None else axis & 1]


def _load_avif(content: bytes) -> Pillow.Image:
    with AvifImagePlugin.AvifImageFile(BytesIO(content)) as image:
        image.load()
        return image


def _heif(content: bytes, picture: _Picture, max_pixels: int) -> Container:
    """Opened by libheif, which crops and turns the image itself."""
    try:
        from pillow_heif import open_heif
    except ImportError:
        raise unsupported(
            "the file is an HEIF image, which takes the extra `heif` to decode",
            "install susy-worker[heif], or convert the image to JPEG",
        ) from None
    try:
        image = open_heif(content)
    except MemoryError:
        raise
    except Exception as error:  # libheif's errors come as ValueError, EOFError, SyntaxError, RuntimeError and OSError
        raise corrupt("the HEIF data cannot be decoded") from error
    require_size(image.size[0], image.size[1], max_pixels)
    return Container(
        format="HEIF",
        canvas=image.size,
        picture=(0, 0, *image.size),
        loading_bytes=HEIF_BYTES * picture.coded_pixels,
        loaded_bytes=HEIF_BYTES * picture.coded_pixels,
        load=image.to_pillow,
    )
