"""The picture of a file with items: its primary item."""

from __future__ import annotations

from worker.intake.container import corrupt, require_size, unsupported
from worker.intake.heif.boxes import Boxes, Range
from worker.intake.heif.items import (
    CODED,
    DERIVED,
    coded_items,
    coded_pixels,
    is_alpha,
    read_items,
)
from worker.intake.heif.picture import Picture
from worker.intake.heif.rewrite import rewritten


def read_primary(boxes: Boxes, meta: Range, max_pixels: int) -> Picture:
    """The primary item."""
    content = boxes.content
    tables: dict[bytes, Range] = {}
    for name, body, end in boxes.within(meta[0] + 4, meta[1]):
        tables.setdefault(name, (body, end))
    if not {b"pitm", b"iinf", b"iloc", b"iprp"} <= tables.keys():
        raise corrupt("the file does not describe an image")
    start, _ = tables[b"pitm"]
    primary = boxes.number(start + 4, 4 if content[start] else 2)
    items = read_items(boxes, tables)
    color = list(coded_items(boxes, items, primary))
    sources = {primary, *color}
    alpha = [number for number, item in items.items() if sources & {*item.auxiliary_of} and is_alpha(boxes, item)]
    planes = [items[number] for auxiliary in alpha for number in coded_items(boxes, items, auxiliary)]
    parts = [items[number] for number in color]
    kinds = {item.kind for item in (*parts, *planes)}
    if len(kinds) != 1 or not kinds <= CODED.keys():
        coding = " and ".join(sorted(ascii(kind)[2:-1] for kind in kinds))
        raise unsupported(f"the image is coded as {coding}, which is not decoded here", "convert it to JPEG")
    whole = items[primary]
    if b"ispe" not in whole.properties:
        raise corrupt("the image has no size")
    start, _ = whole.properties[b"ispe"]
    size = boxes.number(start + 4, 4), boxes.number(start + 8, 4)
    if b"av01" in kinds:  # in HEIF, the size includes what fills the coding blocks and is cropped
        require_size(*size, max_pixels)
    limit = max_pixels * 5 // 4 if whole.kind in DERIVED else max_pixels  # a grid's cells may exceed its edges
    coded = max(coded_pixels(boxes, group, limit, max_pixels) for group in (parts, planes))
    file = rewritten(boxes, meta, items, whole, [items[number] for number in alpha])
    return Picture(kinds.pop(), size, whole.properties, coded, file)
