"""The file as its decoder is given it."""

from __future__ import annotations

from worker.intake.heif.boxes import Boxes, Range
from worker.intake.heif.items import Item

_METADATA = (b"Exif", b"mime")


def rewritten(boxes: Boxes, meta: Range, items: dict[int, Item], color: Item, alphas: list[Item]) -> bytes:
    """The file, in which metadata has a kind that no decoder reads, and each opacity has a size.

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


def _with_sizes(file: bytearray, boxes: Boxes, meta: Range, color: Item, alphas: list[Item]) -> bytearray:
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
