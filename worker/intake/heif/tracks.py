"""The picture of a sequence: the first one of its first track."""

from __future__ import annotations

from worker.intake.container import corrupt, require_size, unsupported
from worker.intake.heif.bitstream import Size
from worker.intake.heif.boxes import Boxes, Range
from worker.intake.heif.items import Item, coded_pixels
from worker.intake.heif.picture import Picture


def read_first_track(boxes: Boxes, moov: Range, max_pixels: int) -> Picture:
    """The first picture of the first AV1 track that is not another one's opacity."""
    size: Size | None = None
    properties: dict[bytes, Range] = {}
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
            coded_pixels(
                boxes, [Item(kind, data=_first_sample(boxes, table), properties=described)], max_pixels, max_pixels
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
    return Picture(b"av01", size, properties, coded, bytes(file), animated)


def _samples(boxes: Boxes, table: Range) -> int:
    """How many pictures a track has."""
    lengths = boxes.find(table, b"stsz")
    return boxes.number(lengths[0] + 8, 4) if lengths else 0


def _first_sample(boxes: Boxes, table: Range) -> list[Range]:
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
