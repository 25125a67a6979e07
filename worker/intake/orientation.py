"""EXIF orientation: how the stored pixels must be turned to be looked at."""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

UPRIGHT = 1
"""The orientation of an image that says nothing else."""
_TAG = 0x0112
_SHORT, _LONG = 3, 4


def read_orientation(exif: bytes) -> int:
    """The orientation, 1 to 8, that an EXIF block asks for; `UPRIGHT` where it is silent or broken.

    Read here, and not by an EXIF library, because the block is hostile and this one number is all that matters.
    """
    tiff = exif.removeprefix(b"Exif\x00\x00")
    order = {b"II*\x00": "<", b"MM\x00*": ">"}.get(tiff[:4])
    if order is None:
        return UPRIGHT
    try:
        (directory,) = struct.unpack_from(f"{order}I", tiff, 4)
        (count,) = struct.unpack_from(f"{order}H", tiff, directory)
        for entry in range(directory + 2, directory + 2 + 12 * count, 12):
            tag, kind = struct.unpack_from(f"{order}HH", tiff, entry)
            if tag == _TAG and kind in (_SHORT, _LONG):
                (value,) = struct.unpack_from(f"{order}{'H' if kind == _SHORT else 'I'}", tiff, entry + 8)
                return int(value) if UPRIGHT <= value <= 8 else UPRIGHT
    except struct.error:
        pass
    return UPRIGHT


def turns_sideways(orientation: int) -> bool:
    """Whether this orientation exchanges width and height."""
    return orientation >= 5


def as_stored(upright: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """A view of `upright` [H, W, 3] in which the pixels lie as the file stores them, `[W, H, 3]` if turned sideways.

    Writing the stored pixels into the view turns them, without a second copy of the image.
    """
    if orientation in (2, 3, 6, 7):
        upright = upright[:, ::-1]
    if orientation in (3, 4, 7, 8):
        upright = upright[::-1]
    return upright.swapaxes(0, 1) if turns_sideways(orientation) else upright
