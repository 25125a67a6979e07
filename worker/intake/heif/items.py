"""The items of a file: pictures, parts of pictures and metadata, as its tables describe them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from worker.intake.container import corrupt, too_many_pixels
from worker.intake.heif.bitstream import av1_frame_sizes, hevc_frame_sizes
from worker.intake.heif.boxes import Boxes, Range

CODED = {b"av01": (b"av1C", av1_frame_sizes), b"hvc1": (b"hvcC", hevc_frame_sizes)}
"""Kind of an item → the property that configures its decoder, and what reads the sizes of its frames."""
DERIVED = (b"grid", b"iden", b"iovl")
"""Kinds of items that are made from other items."""
_ALPHA = (b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha", b"urn:mpeg:hevc:2015:auxid:1")


@dataclass
class Item:
    """A picture, a part of one, or metadata."""

    kind: bytes = b""
    kind_at: int = 0
    """Where the file has its kind."""
    data: list[Range] = field(default_factory=list)
    properties: dict[bytes, Range] = field(default_factory=dict)
    """Name → body, of the first one of each name."""
    inputs: list[int] = field(default_factory=list)
    """The items that it is derived from."""
    auxiliary_of: list[int] = field(default_factory=list)
    listed_at: tuple[int, int, int] = (0, 0, 0)
    """Where its properties are listed: the place of their number, the end of the list, bytes of an entry."""


def read_items(boxes: Boxes, tables: dict[bytes, Range]) -> dict[int, Item]:
    """The items by their numbers, from the tables `iinf`, `iloc`, `iprp` and, if there is one, `iref`."""
    items = _item_kinds(boxes, tables[b"iinf"])
    _add_places(boxes, items, tables[b"iloc"], tables.get(b"idat", (0, 0))[0])
    _add_properties(boxes, items, tables[b"iprp"])
    if b"iref" in tables:
        _add_references(boxes, items, tables[b"iref"])
    return items


def _item_kinds(boxes: Boxes, iinf: Range) -> dict[int, Item]:
    items: dict[int, Item] = {}
    for name, start, _ in boxes.within(iinf[0] + (8 if boxes.content[iinf[0]] else 6), iinf[1]):
        version = boxes.content[start]
        if name == b"infe" and version in (2, 3):
            width = 4 if version == 3 else 2
            kind_at = start + 4 + width + 2
            items[boxes.number(start + 4, width)] = Item(boxes.content[kind_at : kind_at + 4], kind_at)
    return items


def _add_places(boxes: Boxes, items: dict[int, Item], iloc: Range, idat: int) -> None:
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
        item = items.get(boxes.number(position, wide), Item())
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


def _add_properties(boxes: Boxes, items: dict[int, Item], iprp: Range) -> None:
    properties: list[tuple[bytes, Range]] = []
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
            item = items.get(boxes.number(position, wide), Item())
            count_at = position + wide
            position = count_at + 1
            for _ in range(boxes.number(count_at, 1)):
                index = boxes.number(position, entry) & (0x7FFF if entry == 2 else 0x7F)
                position += entry
                if 0 < index <= len(properties):
                    item.properties.setdefault(*properties[index - 1])
            item.listed_at = (count_at, position, entry)


def _add_references(boxes: Boxes, items: dict[int, Item], iref: Range) -> None:
    wide = 4 if boxes.content[iref[0]] else 2
    for name, start, _ in boxes.within(iref[0] + 4, iref[1]):
        item = items.get(boxes.number(start, wide), Item())
        count = boxes.number(start + wide, 2)
        boxes.spend(count)
        targets = [boxes.number(start + wide + 2 + wide * index, wide) for index in range(count)]
        if name == b"dimg":
            item.inputs = targets
        elif name == b"auxl":
            item.auxiliary_of = targets


def coded_items(boxes: Boxes, items: dict[int, Item], number: int, depth: int = 0) -> Iterator[int]:
    """The items that an item consists of, itself if it is coded."""
    boxes.spend()
    item = items.get(number)
    if item is None or depth > 8:
        raise corrupt("the file does not contain the items that its image consists of")
    boxes.joined(item.data)
    if item.kind not in DERIVED:
        yield number
    for inner in item.inputs if item.kind in DERIVED else ():
        yield from coded_items(boxes, items, inner, depth + 1)


def is_alpha(boxes: Boxes, item: Item) -> bool:
    """Whether an auxiliary item is an opacity."""
    start, end = item.properties.get(b"auxC", (0, 0))
    return boxes.content[start + 4 : end].partition(b"\x00")[0] in _ALPHA


def coded_pixels(boxes: Boxes, parts: list[Item], limit: int, max_pixels: int) -> int:
    """Pixels of all frames of all parts."""
    total = 0
    for item in parts:
        configuration, read_sizes = CODED[item.kind]
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
