"""The picture that a file shows, however the file describes it."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from fractions import Fraction

from worker.intake.container import UPRIGHT, corrupt
from worker.intake.heif.bitstream import Size
from worker.intake.heif.boxes import Boxes, Range

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


@dataclass(frozen=True)
class Picture:
    """The image to be shown, and what its decoder is given."""

    kind: bytes
    """`av01` or `hvc1`."""
    size: Size
    """Before it is cropped and turned."""
    properties: dict[bytes, Range]
    coded_pixels: int
    file: bytes
    """The file without metadata."""
    animated: bool = False
    """Whether the track has more pictures than the first."""


def cropped(boxes: Boxes, picture: Picture) -> tuple[int, int, int, int]:
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


def orientation(boxes: Boxes, properties: dict[bytes, Range]) -> int:
    """The EXIF orientation, 1 to 8, that the rotation and the mirroring of a picture make."""
    turns, axis = (boxes.number(properties[name][0], 1) if name in properties else None for name in (b"irot", b"imir"))
    return _ORIENTATIONS[(turns or 0) & 3, None if axis is None else axis & 1]
